#include "common/base/owned_fd.h"

#include <unistd.h>

namespace tessera {

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace tessera
