// A regular expression as a tree.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "pattern.hpp"

namespace tacoglow {

struct PatternNode {
  enum class Kind { set, sequence, choice, group, repeat, look, edge, text_end, line_end, back_reference, if_group };

  explicit PatternNode(Kind own) : kind(own) {}

  Kind kind;
  std::size_t number = 0;  // set and edge: class; group, back_reference, if_group: group
  std::size_t least = 0, most = 0;
  bool is_behind = false, is_negative = false;
  std::vector<PatternNode> parts;
};

struct PatternTree {
  PatternNode root{PatternNode::Kind::sequence};
  std::vector<CharacterClass> classes;
  std::map<std::string, std::size_t, std::less<>> names;  // of groups
  std::size_t n_groups = 1;
};

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

struct Width {
  std::size_t least, most;  // characters; most may be unlimited
};

Width width_of(const PatternNode& node);

// flags, sets and errors as in Pattern's constructor.
PatternTree parse_pattern(const std::string& name, View source, std::string_view flags,
                          const CharacterSet& alphanumeric, const CharacterSet& whitespace);

}  // namespace tacoglow
