#include "pattern_tree.hpp"

#include <algorithm>

#include "error.hpp"

namespace tacoglow {
namespace {

using Node = PatternNode;
using Kind = PatternNode::Kind;

constexpr int depth_max = 50;  // of groups

struct Flags {
  bool ascii, ignore_case;
};

class PatternParser {
 public:
  PatternParser(const std::string& name, View source, const CharacterSet& alphanumeric, const CharacterSet& whitespace)
      : name_(name), source_(source), alphanumeric_(alphanumeric), whitespace_(whitespace) {}

  PatternTree parse(Flags flags) {
    tree_.root = choice(flags);
    if (at_ < source_.size()) fail("unmatched )");
    return std::move(tree_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw bundle_error(name_ + ": at character " + std::to_string(at_) + ": " + what + "; export the voice again");
  }

  bool accept(View expected) {
    if (source_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }
  void expect(View expected) {
    if (!accept(expected)) fail("expected " + to_utf8(expected));
  }
  char32_t next() {
    if (at_ == source_.size()) fail("ends too early");
    return source_[at_++];
  }

  Node choice(Flags flags) {
    if (++depth_ > depth_max) fail("groups are nested too deeply");
    Node node(Kind::choice);
    do node.parts.push_back(sequence(flags));
    while (accept(U"|"));
    --depth_;
    if (node.parts.size() > 1) return node;
    Node only = std::move(node.parts.front());
    return only;
  }

  Node sequence(Flags flags) {
    Node node(Kind::sequence);
    while (at_ < source_.size() && source_[at_] != U'|' && source_[at_] != U')')
      node.parts.push_back(repeated(item(flags)));
    return node;
  }

  Node repeated(Node own) {
    std::size_t least = 1, most = 1;
    if (accept(U"*")) {
      least = 0, most = unlimited;
    } else if (accept(U"+")) {
      most = unlimited;
    } else if (accept(U"?")) {
      least = 0;
    } else if (accept(U"{")) {
      least = most = number();
      if (accept(U",")) most = at_ < source_.size() && source_[at_] == U'}' ? unlimited : number();
      expect(U"}");
      if (most < least) fail("expected the smaller number first");
    } else {
      return own;
    }
    if (at_ < source_.size() && View(U"?*+{").find(source_[at_]) != View::npos) fail("unsupported repetition");
    if (most == unlimited && width_of(own).least == 0) fail("repeats what may be empty");
    Node node(Kind::repeat);
    node.least = least, node.most = most;
    node.parts.push_back(std::move(own));
    return node;
  }

  std::size_t number() {
    std::size_t value = 0, digits = 0;
    for (; at_ < source_.size() && source_[at_] >= U'0' && source_[at_] <= U'9' && digits < 4; ++digits)
      value = 10 * value + (source_[at_++] - U'0');
    if (digits == 0 || value > 1000) fail("expected a number up to 1000");
    return value;
  }

  Node item(Flags flags) {
    const char32_t character = next();
    if (character == U'(') return group(flags);
    if (character == U'[') return of_class(bracketed(flags));
    if (character == U'\\') return escaped(flags);
    if (character == U'$') return Node(Kind::line_end);
    if (View(U".^*+?{").find(character) != View::npos) fail("unsupported: " + to_utf8(View(&character, 1)));
    return literal(character, flags);
  }

  Node group(Flags flags) {
    if (accept(U"?:")) return closed(choice(flags));
    if (accept(U"?=")) return look(false, false, flags);
    if (accept(U"?!")) return look(false, true, flags);
    if (accept(U"?<=")) return look(true, false, flags);
    if (accept(U"?<!")) return look(true, true, flags);
    if (accept(U"?i:")) return closed(choice({flags.ascii, true}));
    if (accept(U"?-i:")) return closed(choice({flags.ascii, false}));
    if (accept(U"?(")) return condition(flags);
    Node node(Kind::group);
    node.number = tree_.n_groups++;
    if (accept(U"?P<")) {
      const std::size_t end = source_.find(U'>', at_);
      if (end == View::npos) fail("expected >");
      tree_.names[to_utf8(source_.substr(at_, end - at_))] = node.number;
      at_ = end + 1;
    } else if (accept(U"?")) {
      fail("unsupported group");
    }
    node.parts.push_back(closed(choice(flags)));
    return node;
  }

  Node closed(Node node) {
    expect(U")");
    return node;
  }

  Node look(bool is_behind, bool is_negative, Flags flags) {
    Node node(Kind::look);
    node.is_behind = is_behind, node.is_negative = is_negative;
    node.parts.push_back(closed(choice(flags)));
    const Width own = width_of(node.parts.front());
    if (is_behind && own.least != own.most) fail("looks behind by different widths");
    return node;
  }

  Node condition(Flags flags) {
    Node node(Kind::if_group);
    const std::size_t end = std::min(source_.find(U')', at_), source_.size());
    const auto named = tree_.names.find(to_utf8(source_.substr(at_, end - at_)));
    node.number = named != tree_.names.end() ? named->second : number();
    if (named != tree_.names.end()) at_ = end;
    if (node.number == 0 || node.number >= tree_.n_groups) fail("expected a group before");
    expect(U")");
    node.parts.push_back(sequence(flags));
    node.parts.push_back(accept(U"|") ? sequence(flags) : Node(Kind::sequence));
    return closed(std::move(node));
  }

  Node escaped(Flags flags) {
    const char32_t character = next();
    if (character == U'b') {
      Node node = of_class(class_of(U'w', flags));
      node.kind = Kind::edge;
      return node;
    }
    if (character == U'Z') return Node(Kind::text_end);
    if (View(U"wsdS").find(character) != View::npos) return of_class(class_of(character, flags));
    if (character >= U'1' && character <= U'9') {
      Node node(Kind::back_reference);
      node.number = character - U'0';
      if (node.number >= tree_.n_groups) fail("expected a group before");
      return node;
    }
    return literal(unescaped(character), flags);
  }

  char32_t unescaped(char32_t character) {
    constexpr View names = U"nrtvf", meanings = U"\n\r\t\v\f";
    if (const auto found = names.find(character); found != View::npos) return meanings[found];
    if (character == U'x' || character == U'u') {
      char32_t code = 0;
      for (int i = character == U'x' ? 2 : 4; i > 0; --i) {
        const auto digit = View(U"0123456789abcdef").find(next());
        if (digit == View::npos) fail("expected hexadecimal digits");
        code = code * 16 + static_cast<char32_t>(digit);
      }
      return code;
    }
    if ((character >= U'a' && character <= U'z') || (character >= U'A' && character <= U'Z') ||
        (character >= U'0' && character <= U'9'))
      fail("unsupported escape");
    return character;
  }

  // \w, \d, \s and \S.
  CharacterClass class_of(char32_t name, Flags flags) {
    CharacterClass own;
    for (char32_t c = 0; c < 128; ++c) {
      const bool is_letter = (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z'), is_digit = c >= U'0' && c <= U'9';
      const bool is_space = flags.ascii ? c == U' ' || (c >= U'\t' && c <= U'\r') : whitespace_.contains(c);
      own.ascii[c] = name == U'w'   ? is_letter || is_digit || c == U'_'
                     : name == U'd' ? is_digit
                     : name == U's' ? is_space
                                    : !is_space;
    }
    if (name == U'd' && !flags.ascii) fail("\\d beyond ASCII");
    if (!flags.ascii) own.sets.push_back(name == U'w' ? &alphanumeric_ : &whitespace_);
    own.negated = name == U'S';
    return own;
  }

  CharacterClass bracketed(Flags flags) {
    CharacterClass own;
    const bool negated = accept(U"^");
    for (bool is_first = true; is_first || source_.substr(at_, 1) != U"]"; is_first = false) {
      char32_t first = next();
      if (first == U'\\') {
        first = next();
        if (View(U"wsd").find(first) != View::npos) {
          const CharacterClass other = class_of(first, flags);
          own.ascii |= other.ascii;
          own.sets.insert(own.sets.end(), other.sets.begin(), other.sets.end());
          continue;
        }
        first = unescaped(first);
      }
      char32_t last = first;
      if (source_.substr(at_, 1) == U"-" && source_.substr(at_ + 1, 1) != U"]") {
        ++at_;
        last = next();
        if (last == U'\\') last = unescaped(next());
        if (last < first) fail("expected the smaller character first");
      }
      include(own, first, last, flags);
    }
    ++at_;
    if (negated) own.ascii.flip();
    own.negated = negated;
    return own;
  }

  void include(CharacterClass& own, char32_t first, char32_t last, Flags flags) {
    for (char32_t c = first; c <= last && c < 128; ++c) {
      own.ascii.set(c);
      const char32_t other = c ^ 0x20u;
      const bool is_letter = (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
      if (flags.ignore_case && is_letter) own.ascii.set(other);
      if (flags.ignore_case && is_letter && !flags.ascii) fail("ignores case beyond ASCII");
    }
    if (last >= 128) own.ranges.emplace_back(std::max(first, char32_t{128}), last);
  }

  Node literal(char32_t character, Flags flags) {
    CharacterClass own;
    include(own, character, character, flags);
    return of_class(std::move(own));
  }

  Node of_class(CharacterClass own) {
    Node node(Kind::set);
    node.number = tree_.classes.size();
    tree_.classes.push_back(std::move(own));
    return node;
  }

  PatternTree tree_;
  const std::string& name_;
  View source_;
  const CharacterSet &alphanumeric_, &whitespace_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

PatternTree parse_pattern(const std::string& name, View source, std::string_view flags,
                          const CharacterSet& alphanumeric, const CharacterSet& whitespace) {
  const auto has = [&](char flag) { return flags.find(flag) != std::string_view::npos; };
  return PatternParser(name, source, alphanumeric, whitespace).parse({has('a'), has('i')});
}

}  // namespace tacoglow
