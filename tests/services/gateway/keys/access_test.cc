#include "services/gateway/keys/access.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera::gateway {
namespace {

using absl::StatusCode;

TEST(AccessTest, Routes) {
  EXPECT_EQ(ClassOf("/livez"), RouteClass::kProbe);
  EXPECT_EQ(ClassOf("/readyz"), RouteClass::kProbe);
  EXPECT_EQ(ClassOf("/v2/health/ready"), RouteClass::kProbe);
  EXPECT_EQ(ClassOf("/v2"), RouteClass::kModel);
  EXPECT_EQ(ClassOf("/v2/models/m/ready"), RouteClass::kModel);
  EXPECT_EQ(ClassOf("/startupz"), RouteClass::kProbe);
  EXPECT_EQ(ClassOf("/health"), RouteClass::kModel);
  EXPECT_EQ(ClassOf("/metrics"), RouteClass::kAdmin);
  EXPECT_EQ(ClassOf("/v1/experts/load"), RouteClass::kAdmin);
  EXPECT_EQ(ClassOf("/v1/chat/completions"), RouteClass::kModel);
  EXPECT_EQ(ClassOf("/v1/models/m"), RouteClass::kModel);
  EXPECT_EQ(ClassOf("/"), RouteClass::kPage);
  EXPECT_EQ(ClassOf("/web/app.js"), RouteClass::kPage);
  EXPECT_EQ(ClassOf("/webapp"), RouteClass::kUnknown);
  EXPECT_EQ(ClassOf("/livez/../metrics"), RouteClass::kUnknown);
  EXPECT_EQ(ClassOf("/metrics/"), RouteClass::kUnknown);
  EXPECT_EQ(ClassOf("//livez"), RouteClass::kUnknown);
}

TEST(AccessTest, TheTable) {
  ApiKey user;
  user.name = "user";
  ApiKey admin = user;
  admin.admin = true;
  struct Row {
    RouteClass route;
    StatusCode without_key;
    StatusCode with_key;
    StatusCode with_admin_key;
  };
  const Row rows[] = {
      {RouteClass::kProbe, StatusCode::kOk, StatusCode::kOk, StatusCode::kOk},
      {RouteClass::kPage, StatusCode::kOk, StatusCode::kOk, StatusCode::kOk},
      {RouteClass::kModel, StatusCode::kUnauthenticated, StatusCode::kOk, StatusCode::kOk},
      {RouteClass::kAdmin, StatusCode::kUnauthenticated, StatusCode::kPermissionDenied,
       StatusCode::kOk},
      {RouteClass::kUnknown, StatusCode::kUnauthenticated, StatusCode::kOk, StatusCode::kOk},
  };
  for (const Row& row : rows) {
    for (const bool presented : {false, true}) {
      EXPECT_TRUE(CheckAccess(row.route, /*has_key_file=*/false, presented, nullptr).ok());
      EXPECT_EQ(CheckAccess(row.route, /*has_key_file=*/true, presented, nullptr).code(),
                row.without_key);
    }
    EXPECT_EQ(CheckAccess(row.route, true, true, &user).code(), row.with_key);
    EXPECT_EQ(CheckAccess(row.route, true, true, &admin).code(), row.with_admin_key);
  }
}

TEST(AccessTest, Models) {
  ApiKey key;
  key.models = {"m"};
  EXPECT_TRUE(CheckModel(nullptr, "x").ok());
  EXPECT_TRUE(CheckModel(&key, "m").ok());
  EXPECT_EQ(CheckModel(&key, "x").code(), StatusCode::kPermissionDenied);
}

TEST(AccessTest, AModelWithoutANameIsTheFirstThatTheKeyMayUse) {
  const std::vector<std::string> served = {"large", "small"};
  ApiKey key;
  key.name = "k";
  key.models = {"small"};
  EXPECT_EQ(*ResolveModel(served, nullptr, ""), "large");
  EXPECT_EQ(*ResolveModel(served, &key, ""), "small");
  EXPECT_EQ(*ResolveModel(served, &key, "small"), "small");
  EXPECT_EQ(ResolveModel(served, &key, "large").status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(ResolveModel(served, &key, "other").status().code(), StatusCode::kNotFound);
  key.models = {"other"};
  EXPECT_EQ(ResolveModel(served, &key, "").status().code(), StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace tessera::gateway
