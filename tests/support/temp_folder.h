#pragma once

#include <string>
#include <string_view>

namespace tessera::testing {

// An empty folder of its own below the system's folder for temporary files, removed with all it
// holds when the object dies. Movable.
class TempFolder {
 public:
  TempFolder();
  TempFolder(TempFolder&& other) noexcept;
  TempFolder& operator=(TempFolder&&) = delete;
  ~TempFolder();

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const;  // path of a file in it

 private:
  std::string path_;
};

// Whole files; a failure ends the test program.
std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, std::string_view content);

}  // namespace tessera::testing
