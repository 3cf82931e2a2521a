#include "services/gateway/web/web_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "services/gateway/web/web_files.h"

namespace tessera::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFolder[] = TESSERA_SOURCE_DIR "/services/gateway/web";

HttpRequest Get(std::string path, std::string etag = "") {
  HttpRequest request{.method = "GET", .path = std::move(path)};
  if (!etag.empty()) request.headers.push_back({"if-none-match", std::move(etag)});
  return request;
}

std::string Header(const HttpResponse& response, std::string_view name) {
  for (const HttpHeader& header : response.headers) {
    if (header.name == name) return header.value;
  }
  return "";
}

std::string ReadSource(const std::string& name) {
  std::ifstream file(std::string(kFolder) + "/" + name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(WebPageTest, EveryFileOfTheFolderIsServedAsItIs) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    const std::string kind = entry.path().extension();
    if (kind == ".html" || kind == ".js" || kind == ".css" || kind == ".svg") {
      names.insert(entry.path().filename());
    }
  }
  EXPECT_EQ(WebFiles().size(), names.size());
  for (const std::string& name : names) {
    const auto response = AnswerWebPage(Get("/web/" + name));
    ASSERT_TRUE(response.has_value()) << name << " is not named by CMakeLists.txt";
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, ReadSource(name)) << name;
  }
  EXPECT_EQ(AnswerWebPage(Get("/"))->body, ReadSource("index.html"));
}

TEST(WebPageTest, TypesAndPolicy) {
  EXPECT_EQ(AnswerWebPage(Get("/"))->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(AnswerWebPage(Get("/web/app.js"))->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(AnswerWebPage(Get("/web/style.css"))->content_type, "text/css; charset=utf-8");
  EXPECT_EQ(AnswerWebPage(Get("/web/icon.svg"))->content_type, "image/svg+xml");
  for (const WebFile& file : WebFiles()) {
    const auto response = AnswerWebPage(Get("/web/" + std::string(file.name)));
    const std::string policy = Header(*response, "content-security-policy");
    EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
    EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
    EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
    EXPECT_EQ(Header(*response, "x-content-type-options"), "nosniff");
    EXPECT_EQ(Header(*response, "cache-control"), "no-cache");
  }
}

TEST(WebPageTest, KnownBytesAreNotSentAgain) {
  const std::string etag = Header(*AnswerWebPage(Get("/")), "etag");
  EXPECT_TRUE(etag.size() > 2 && etag.front() == '"' && etag.back() == '"') << etag;
  for (const std::string& known : {etag, "W/" + etag, "\"other\", " + etag, std::string("*")}) {
    const auto response = AnswerWebPage(Get("/", known));
    EXPECT_EQ(response->status, 304) << known;
    EXPECT_EQ(response->body, "");
    EXPECT_EQ(Header(*response, "etag"), etag);
  }
  EXPECT_EQ(AnswerWebPage(Get("/", "\"other\""))->status, 200);
  std::set<std::string_view> tags;
  for (const WebFile& file : WebFiles()) tags.insert(file.etag);
  EXPECT_EQ(tags.size(), WebFiles().size());
}

TEST(WebPageTest, OtherPathsAreNotThePages) {
  for (const char* path : {"/index.html", "/web", "/web/", "/web/none.js", "/web/../app.js",
                           "/web/web_page.cc", "//", "/web//app.js", ""}) {
    EXPECT_FALSE(AnswerWebPage(Get(path)).has_value()) << path;
  }
  EXPECT_TRUE(IsWebPath("/") && IsWebPath("/web/none.js"));
  EXPECT_FALSE(IsWebPath("/webb") || IsWebPath("/web") || IsWebPath("/v1/models"));
}

// What the policy forbids would fail only in a browser.
TEST(WebPageTest, ThePageAsksForNothingElsewhere) {
  for (const WebFile& file : WebFiles()) {
    if (file.name == "icon.svg") continue;
    const std::string text(file.bytes);
    EXPECT_THAT(text, Not(HasSubstr("innerHTML"))) << file.name;
    EXPECT_THAT(text, Not(HasSubstr("eval("))) << file.name;
    EXPECT_THAT(text, Not(HasSubstr("http://"))) << file.name;
    EXPECT_THAT(text, Not(HasSubstr("https://"))) << file.name;
    EXPECT_THAT(text, Not(HasSubstr(" style=\""))) << file.name;
  }
}

}  // namespace
}  // namespace tessera::gateway
