// Writes the tree of a regular expression as a program for the matcher.

#include <algorithm>

#include "error.hpp"
#include "pattern_tree.hpp"

namespace tacoglow {
namespace {

using Node = PatternNode;
using Kind = PatternNode::Kind;

constexpr std::size_t nowhere = View::npos;
constexpr std::size_t program_max = 50'000;  // instructions

}  // namespace

Width width_of(const Node& node) {
  switch (node.kind) {
    case Kind::set:
      return {1, 1};
    case Kind::look:
    case Kind::edge:
    case Kind::text_end:
    case Kind::line_end:
      return {0, 0};
    case Kind::back_reference:
      return {0, unlimited};
    case Kind::group:
      return width_of(node.parts.front());
    case Kind::repeat: {
      const Width own = width_of(node.parts.front());
      const bool is_bounded = own.most != unlimited && node.most != unlimited;
      return {own.least * node.least, is_bounded ? own.most * node.most : unlimited};
    }
    case Kind::choice:
    case Kind::if_group: {
      Width all = {unlimited, 0};
      for (const Node& part : node.parts) {
        const Width own = width_of(part);
        all = {std::min(all.least, own.least), std::max(all.most, own.most)};
      }
      return all;
    }
    case Kind::sequence:
      break;
  }
  Width all = {0, 0};
  for (const Node& part : node.parts) {
    const Width own = width_of(part);
    all.least += own.least;
    all.most = all.most == unlimited || own.most == unlimited ? unlimited : all.most + own.most;
  }
  return all;
}

class PatternCompiler {
 public:
  PatternCompiler(Pattern& pattern, const std::string& name) : pattern_(pattern), name_(name) {}

  void compile(const Node& root) {
    emit(root);
    add({Op::match});
    pattern_.may_be_empty_ = !find_beginnings(0, pattern_.begins_, pattern_.begins_beyond_);
  }

 private:
  using Op = Pattern::Op;

  std::size_t add(Pattern::Instruction instruction) {
    if (pattern_.program_.size() == program_max) throw bundle_error(name_ + ": is too long; export the voice again");
    pattern_.program_.push_back(instruction);
    return pattern_.program_.size() - 1;
  }
  Pattern::Instruction& at(std::size_t place) { return pattern_.program_[place]; }
  std::size_t here() const { return pattern_.program_.size(); }

  void emit(const Node& node) {
    switch (node.kind) {
      case Kind::set:
        add({Op::set, node.number});
        break;
      case Kind::edge:
        add({Op::edge, node.number});
        break;
      case Kind::text_end:
        add({Op::text_end});
        break;
      case Kind::line_end:
        add({Op::line_end});
        break;
      case Kind::back_reference:
        add({Op::back_reference, node.number});
        break;
      case Kind::sequence:
        for (const Node& part : node.parts) emit(part);
        break;
      case Kind::group:
        add({Op::save, 2 * node.number});
        emit(node.parts.front());
        add({Op::save, 2 * node.number + 1});
        break;
      case Kind::choice:
        emit_choice(node);
        break;
      case Kind::repeat:
        emit_repeat(node);
        break;
      case Kind::look:
        emit_look(node);
        break;
      case Kind::if_group: {
        const std::size_t test = add({Op::if_group, node.number});
        emit(node.parts[0]);
        const std::size_t leave = add({Op::jump});
        at(test).b = here();
        emit(node.parts[1]);
        at(leave).a = here();
        break;
      }
    }
  }

  void emit_choice(const Node& node) {
    std::vector<std::size_t> leaves;
    for (std::size_t i = 0; i + 1 < node.parts.size(); ++i) {
      const std::size_t split = add({Op::split, here() + 1});
      emit(node.parts[i]);
      leaves.push_back(add({Op::jump}));
      at(split).b = here();
    }
    emit(node.parts.back());
    for (const std::size_t leave : leaves) at(leave).a = here();
  }

  void emit_repeat(const Node& node) {
    const Node& part = node.parts.front();
    if (part.kind == Kind::set) {
      add({Op::repeat, part.number, node.least, node.most});
      return;
    }
    for (std::size_t i = 0; i < node.least; ++i) emit(part);
    if (node.most == unlimited) {
      const std::size_t split = add({Op::split, here() + 1});
      emit(part);
      add({Op::jump, split});
      at(split).b = here();
      return;
    }
    std::vector<std::size_t> splits;
    for (std::size_t i = node.least; i < node.most; ++i) {
      splits.push_back(add({Op::split, here() + 1}));
      emit(part);
    }
    for (const std::size_t split : splits) at(split).b = here();
  }

  void emit_look(const Node& node) {
    const std::size_t look = add({Op::look});
    emit(node.parts.front());
    add({Op::match});
    const std::size_t behind = node.is_behind ? width_of(node.parts.front()).least : nowhere;
    const bool has_groups = std::any_of(pattern_.program_.begin() + static_cast<std::ptrdiff_t>(look),
                                        pattern_.program_.end(), [](const auto& own) { return own.op == Op::save; });
    at(look) = {Op::look, behind, here(), (node.is_negative ? 1u : 0u) + (has_groups ? 2u : 0u)};
  }

  // Collects the characters that a match can begin with. Returns false if it may be empty, or is not known to begin
  // with one of them.
  bool find_beginnings(std::size_t place, std::bitset<128>& ascii, bool& beyond) const {
    for (;;) {
      const Pattern::Instruction& now = pattern_.program_[place];
      switch (now.op) {
        case Op::set:
        case Op::repeat: {
          const CharacterClass& own = pattern_.classes_[now.a];
          ascii |= own.ascii;
          beyond = beyond || own.negated || !own.ranges.empty() || !own.sets.empty();
          if (now.op == Op::set || now.b > 0) return true;
          break;
        }
        case Op::split:
          if (!find_beginnings(now.a, ascii, beyond)) return false;
          place = now.b;
          continue;
        case Op::if_group:
          if (!find_beginnings(place + 1, ascii, beyond)) return false;
          place = now.b;
          continue;
        case Op::jump:
          place = now.a;
          continue;
        case Op::look:
          place = now.b;
          continue;
        case Op::save:
        case Op::edge:
          break;
        case Op::text_end:
        case Op::line_end:
        case Op::back_reference:
        case Op::match:
          return false;
      }
      ++place;
    }
  }

  Pattern& pattern_;
  const std::string& name_;
};

Pattern::Pattern(const std::string& name, View source, std::string_view flags, const CharacterSet& alphanumeric,
                 const CharacterSet& whitespace) {
  PatternTree tree = parse_pattern(name, source, flags, alphanumeric, whitespace);
  classes_ = std::move(tree.classes);
  names_ = std::move(tree.names);
  n_groups_ = tree.n_groups;
  PatternCompiler(*this, name).compile(tree.root);
}

}  // namespace tacoglow
