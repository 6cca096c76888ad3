#include "normalization.hpp"

#include <algorithm>

namespace tacoglow {
namespace {

// Hangul syllables are composed by arithmetic (Unicode, section 3.12).
constexpr char32_t syllables = 0xAC00, leads = 0x1100, vowels = 0x1161, trails = 0x11A7;
constexpr char32_t n_leads = 19, n_vowels = 21, n_trails = 28, n_syllables = n_leads * n_vowels * n_trails;

bool is_syllable(char32_t character) { return character >= syllables && character < syllables + n_syllables; }

// Returns a lead with a vowel, or those with a trail, as one character; 0: they do not compose.
char32_t compose_hangul(char32_t first, char32_t second) {
  if (first >= leads && first < leads + n_leads && second >= vowels && second < vowels + n_vowels)
    return syllables + ((first - leads) * n_vowels + (second - vowels)) * n_trails;
  const bool takes_trail = is_syllable(first) && (first - syllables) % n_trails == 0;
  return takes_trail && second > trails && second < trails + n_trails ? first + (second - trails) : 0;
}

}  // namespace

std::uint8_t Normalization::class_of(char32_t character) const {
  const auto found = classes.find(character);
  return found == classes.end() ? std::uint8_t{0} : found->second;
}

void Normalization::decompose(char32_t character, bool is_compatible, Text& result) const {
  if (is_syllable(character)) {
    const char32_t index = character - syllables, trail = index % n_trails;
    result += leads + index / (n_vowels * n_trails);
    result += vowels + index % (n_vowels * n_trails) / n_trails;
    if (trail != 0) result += trails + trail;
    return;
  }
  const auto other = is_compatible ? compatible.find(character) : compatible.end();
  const auto found = canonical.find(character);
  if (other != compatible.end())
    result += other->second;
  else if (found != canonical.end())
    result += found->second;
  else
    result += character;
}

Text Normalization::decomposed(View text, bool is_compatible) const {
  Text result;
  for (const char32_t character : text) decompose(character, is_compatible, result);
  for (std::size_t i = 0; i < result.size();) {  // accents in the order of their classes
    std::size_t stop = i;
    while (stop < result.size() && class_of(result[stop]) != 0) ++stop;
    std::stable_sort(result.begin() + static_cast<std::ptrdiff_t>(i),
                     result.begin() + static_cast<std::ptrdiff_t>(stop),
                     [this](char32_t a, char32_t b) { return class_of(a) < class_of(b); });
    i = stop + 1;
  }
  return result;
}

Text Normalization::composed(Text text) const {
  Text result;
  std::size_t starter = View::npos;  // the last character of class 0
  std::uint8_t last_class = 0;       // of the character before, if it stays apart from the starter
  for (const char32_t character : text) {
    const std::uint8_t own = class_of(character);
    const bool is_next = starter != View::npos && starter + 1 == result.size();
    if (starter != View::npos && (is_next || (last_class != 0 && last_class < own))) {
      const char32_t first = result[starter];
      char32_t both = compose_hangul(first, character);
      if (const auto found = compositions.find({first, character}); found != compositions.end()) both = found->second;
      if (both != 0) {
        result[starter] = both;
        continue;
      }
    }
    if (own == 0) starter = result.size();
    last_class = own;
    result += character;
  }
  return result;
}

Text Normalization::compose(View text) const {
  const bool is_ascii = std::all_of(text.begin(), text.end(), [](char32_t character) { return character < 0x80; });
  return is_ascii ? Text(text) : composed(decomposed(text, false));
}

}  // namespace tacoglow
