#pragma once

#include <string_view>

namespace tessera {

// "0.1.0", as the project's CMakeLists.txt says.
std::string_view Version();

}  // namespace tessera
