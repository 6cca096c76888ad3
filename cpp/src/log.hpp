// Messages of the libraries that run graphs, for the program's own log.
#pragma once

#include "tacoglow.h"

namespace tacoglow {

// Passes a message on to the callback of tacoglow_log_set; without one it is dropped.
void log(tacoglow_log_level level, const char* message) noexcept;

}  // namespace tacoglow
