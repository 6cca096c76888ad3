#pragma once

namespace tacoglow::checks {

// Reads lines such as "may_open 7 4" from standard input, and prints a line of numbers for each: 1 for true, nothing
// for none. "want", "give" and "debt" are about one Shares.
void answer_policy();

}  // namespace tacoglow::checks
