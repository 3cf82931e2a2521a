#include "common/config/config_file.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"
#include "common/base/file.h"
#include "common/base/json_string.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace tessera {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What `from` says replaces what `to` says. Message::MergeFrom would append lists.
void Overlay(const Message& from, Message& to) {
  const Reflection& reflection = *from.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(from, &fields);
  for (const FieldDescriptor* field : fields) {
    if (!field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Overlay(reflection.GetMessage(from, field), *reflection.MutableMessage(&to, field));
      continue;
    }
    const std::unique_ptr<Message> one(from.New());
    one->CopyFrom(from);
    for (const FieldDescriptor* other : fields) {
      if (other != field) reflection.ClearField(one.get(), other);
    }
    reflection.ClearField(&to, field);
    to.MergeFrom(*one);
  }
}

std::string FieldNames(const google::protobuf::Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return absl::StrJoin(names, ", ");
}

// The field at the end of `path`. kInvalidArgument with what there is instead.
absl::StatusOr<const FieldDescriptor*> FindField(const google::protobuf::Descriptor& root,
                                                 const std::vector<std::string>& path) {
  const google::protobuf::Descriptor* type = &root;
  const FieldDescriptor* field = nullptr;
  for (size_t i = 0; i < path.size(); ++i) {
    const std::string where =
        absl::StrJoin(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(i), ".");
    if (type == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(where, " is a single value, it has no field"));
    }
    field = type->FindFieldByName(path[i]);
    if (field == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unknown key '", path[i], "'", where.empty() ? "" : absl::StrCat(" in ", where),
          "; there are ", FieldNames(*type)));
    }
    type = field->is_repeated() ? nullptr : field->message_type();
  }
  if (field->message_type() != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(absl::StrJoin(path, "."),
                     " is a group; set one of its fields: ", FieldNames(*field->message_type())));
  }
  return field;
}

}  // namespace

absl::Status MergeConfigText(std::string_view text, Message& config) {
  const std::unique_ptr<Message> parsed(config.New());
  const google::protobuf::util::Status status = google::protobuf::util::JsonStringToMessage(
      {text.data(), text.size()}, parsed.get(), google::protobuf::util::JsonParseOptions());
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("not a config: ", std::string(status.message()),
                                                   "; it is JSON with the keys ",
                                                   FieldNames(*config.GetDescriptor())));
  }
  Overlay(*parsed, config);
  return absl::OkStatus();
}

absl::Status MergeConfigFile(const std::string& path, Message& config) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path);
  if (!text.ok()) return Annotate(text.status(), "config file");
  return Annotate(MergeConfigText(*text, config), path);
}

absl::Status SetConfigField(std::string_view assignment, Message& config) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set=", std::string(assignment), ": expected --set=group.field=value"));
  }
  const std::string key(assignment.substr(0, equals));
  const std::string value(assignment.substr(equals + 1));
  if (FindInvalidUtf8(value) != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("--set=", key, ": the value is not UTF-8"));
  }
  const std::vector<std::string> path = absl::StrSplit(key, '.');
  const auto field = FindField(*config.GetDescriptor(), path);
  if (!field.ok()) return Annotate(field.status(), absl::StrCat("--set=", key));
  // The reader of files knows the types: it takes numbers and truth values in quotes as well.
  std::string json = JsonQuoted(value);
  if ((*field)->is_repeated()) {
    const std::vector<std::string> items = absl::StrSplit(value, ',', absl::SkipEmpty());
    json = absl::StrCat("[",
                        absl::StrJoin(items, ",",
                                      [](std::string* out, const std::string& s) {
                                        absl::StrAppend(out, JsonQuoted(s));
                                      }),
                        "]");
    if (items.empty()) {  // a message cannot say "no entries"
      Message* group = &config;
      for (size_t i = 0; i + 1 < path.size(); ++i) {
        const FieldDescriptor* step = group->GetDescriptor()->FindFieldByName(path[i]);
        group = group->GetReflection()->MutableMessage(group, step);
      }
      group->GetReflection()->ClearField(group, *field);
      return absl::OkStatus();
    }
  }
  for (size_t i = path.size(); i-- > 0;) json = absl::StrCat("{\"", path[i], "\":", json, "}");
  if (MergeConfigText(json, config).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--set=", key, ": '", value, "' is not a value of type ", (*field)->type_name()));
}

std::string PrintConfig(const Message& config) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  TESSERA_CHECK(google::protobuf::util::MessageToJsonString(config, &text, options).ok());
  return text;
}

}  // namespace tessera
