#pragma once

// The one writer of JSON: straight into a string, for replies are a hot path and no tree is built
// for them. json.h reads.

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/json_string.h"

namespace tessera {

// Appends the shortest digits that read back as the same value; what is not finite becomes the
// nearest number that JSON has (0 for NaN).
void AppendJsonNumber(double value, std::string& out);
void AppendJsonNumber(float value, std::string& out);

// Objects and arrays, with their commas. Borrows `out`.
//   JsonWriter json(out);
//   json.Open('{').Key("id").String(id).Key("n").Integer(3).Close('}');
class JsonWriter {
 public:
  // `goes_on`: `out` ends with a value that a comma must follow.
  explicit JsonWriter(std::string& out, bool goes_on = false) : out_(out), comma_(goes_on) {}

  JsonWriter& Open(char bracket) {
    Comma();
    out_ += bracket;
    comma_ = false;
    return *this;
  }
  JsonWriter& Close(char bracket) {
    out_ += bracket;
    comma_ = true;
    return *this;
  }
  // `key` is ours: it needs no escape.
  JsonWriter& Key(std::string_view key) {
    Comma();
    out_ += '"';
    out_ += key;
    out_ += "\":";
    comma_ = false;
    return *this;
  }
  JsonWriter& String(std::string_view value) {
    Comma();
    AppendJsonString(value, out_);
    return *this;
  }
  JsonWriter& Integer(int64_t value);
  JsonWriter& Number(float value) {
    Comma();
    AppendJsonNumber(value, out_);
    return *this;
  }
  JsonWriter& Number(double value) {
    Comma();
    AppendJsonNumber(value, out_);
    return *this;
  }
  JsonWriter& Bool(bool value) { return Raw(value ? "true" : "false"); }
  JsonWriter& Null() { return Raw("null"); }
  // `json` is a value already, or several with their commas, or nothing.
  JsonWriter& Raw(std::string_view json) {
    if (json.empty()) return *this;
    Comma();
    out_ += json;
    return *this;
  }
  std::string& out() { return out_; }

 private:
  // A value follows another: every value sets the mark, every key and opening bracket clears it.
  void Comma() {
    if (comma_) out_ += ',';
    comma_ = true;
  }

  std::string& out_;
  bool comma_;
};

}  // namespace tessera
