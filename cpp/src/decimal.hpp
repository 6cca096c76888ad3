// Decimal numbers, whatever the locale of the process.
#pragma once

#include <locale>
#include <sstream>
#include <string>

namespace tacoglow {

// The value of digits with at most one point; 0 if there is none.
inline double parse_decimal(const std::string& digits) {
  std::istringstream stream(digits);
  stream.imbue(std::locale::classic());
  double value = 0.0;
  stream >> value;
  return value;
}

}  // namespace tacoglow
