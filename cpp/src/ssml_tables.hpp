// Names and limits of SSML: those of Python's text/ssml.py, from the bundle.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

namespace tacoglow {

struct SsmlTables {
  std::size_t characters_max = 0, depth_max = 0, remarks_max = 0;
  std::pair<double, double> rate_range, volume_range;
  std::map<std::string, double> strengths, rates, volumes;  // seconds of a break; factors
  std::string strength_names, rate_names, volume_names;     // for people, in a sensible order
  std::set<std::string> alphabets, plain, unspoken;
};

}  // namespace tacoglow
