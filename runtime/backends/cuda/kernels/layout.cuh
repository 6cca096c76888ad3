// How the fused decoder lies on a GPU: its dimensions, its blocks' shares, and the memory that they exchange and keep.
#pragma once

#include "device.cuh"

#define CONSTANT constexpr __host__ __device__

CONSTANT int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }
CONSTANT int ceil_div(int n, int by) { return (n + by - 1) / by; }
CONSTANT int larger(int a, int b) { return a > b ? a : b; }

constexpr int LANES = 32;
constexpr int THREADS = WARPS * LANES;
constexpr u32 ALL_LANES = 0xffffffffu;
constexpr int ITEMS = round_up(BATCH, 2);  // columns of sums in shared memory, which are stored in pairs

// Padded widths: four lanes take 32 values of a vector at a time, a warp 128 of a query.
constexpr int P = round_up(PRENET, 32);
constexpr int E = round_up(ENCODER, 32);
constexpr int A = round_up(ATTENTION, 128);
constexpr int RA = round_up(ATTENTION_RNN, 32);
constexpr int RD = round_up(DECODER_RNN, 32);
constexpr int PROJECTED = round_up(MEL + 1, 8);  // mel bands and the gate
static_assert(TOKENS % 128 == 0, "a warp takes 128 energies at a time");
static_assert(BATCH >= 1 && BATCH <= 8, "a product has eight columns");
static_assert(WARPS % 2 == 0 && WARPS <= 32, "both halves of a row group have the same turn");

// The products' shares: which LSTM's rows meet which vector.
enum Share { ATT_PRENET, ATT_CONTEXT, ATT_HIDDEN, DEC_ATTENTION, DEC_CONTEXT, DEC_HIDDEN, SHARES };
constexpr int SHARE_WIDTH[SHARES] = {P, E, RA, RA, E, RD};
constexpr int HELD_TILES[SHARES] = {HELD};      // k tiles of a warp in registers
constexpr int SHARED_TILES[SHARES] = {SHARED};  // and in shared memory
constexpr int ATT_TILES = ceil_div(RA / 4, BLOCKS);  // unit tiles of a block, at most
constexpr int DEC_TILES = ceil_div(RD / 4, BLOCKS);
constexpr int LSTM_ROWS = 16 * larger(ATT_TILES, DEC_TILES);
static_assert(BLOCKS <= RA / 4 && BLOCKS <= RD / 4, "every block must own units of both LSTMs");

CONSTANT int k_tiles(int width) { return ceil_div(width / 16, WARPS); }  // of a warp
CONSTANT int unit_tiles(int share) { return share < DEC_ATTENTION ? ATT_TILES : DEC_TILES; }
CONSTANT int tiles_before(const int (&k_tiles_each)[SHARES], int share) {
  int count = 0;
  for (int before = 0; before < share; ++before) count += k_tiles_each[before] * unit_tiles(before);
  return count;
}
constexpr int HELD_COUNT = tiles_before(HELD_TILES, SHARES);
constexpr int SHARED_COUNT = tiles_before(SHARED_TILES, SHARES);

// Groups of eight rows of the small matrices, and how many of each kind a block owns at most.
constexpr int PRENET_GROUPS = P / 8;
constexpr int PROJECTION_GROUPS = PRENET_GROUPS + PROJECTED / 8;  // prenet 1, then mel and gate
constexpr int QUERY_GROUPS = A / 8;
constexpr int PROJECTION_SLOTS = ceil_div(PROJECTION_GROUPS, BLOCKS);
constexpr int PRENET_SLOTS = ceil_div(PRENET_GROUPS, BLOCKS);
constexpr int QUERY_SLOTS = ceil_div(QUERY_GROUPS, BLOCKS);
constexpr int ROW_SLOTS = larger(PROJECTION_SLOTS, larger(PRENET_SLOTS, QUERY_SLOTS));

constexpr int TILE_SLOTS = ceil_div(BATCH * TOKENS / 8, BLOCKS);  // token tiles of a block
constexpr int CONTEXT_SLOTS = ceil_div(E / 4, BLOCKS);            // quads of context columns of a block
constexpr int CHUNKS = TOKENS / 128;                              // a warp's loads of an item's energies, 4 tokens a lane
constexpr int TAP_TILES = ceil_div(TAPS, 16);                     // k tiles of the location convolution, of one channel
constexpr int WINDOW = 8 + 16 * TAP_TILES;                        // tokens that a token tile's location features see
constexpr int WINDOW_BEFORE = (TAPS - 1) / 2;                     // of them before the tile's first

enum Section {
  SHARE_SECTIONS,  // six, as in Share: [block][warp][k tile][unit tile][lane] x 16 bytes
  PROJECTION_HIDDEN = SHARES,  // [group][warp][k tile][lane] x 8 bytes, as the next three
  PROJECTION_CONTEXT,
  PRENET_2,
  QUERY,
  LOCATION,         // [16 of A][k tile][high, low part][lane] x 16 bytes
  ATT_BIAS,         // float [unit][gate], as the next
  DEC_BIAS,
  PROJECTION_BIAS,  // float [prenet 1, mel, gate]
  ENERGY,           // float [A]
  SECTIONS
};
constexpr long long OFFSETS[SECTIONS] = {SECTION_OFFSETS};

template <int SECTION, class Value>
__device__ __forceinline__ const Value* section(const unsigned char* packed) {
  constexpr long long OFFSET = OFFSETS[SECTION];
  return reinterpret_cast<const Value*>(packed + OFFSET);
}

enum TagBit { LINEAR_TAG = 14, POSITIVE_TAG = 15 };  // of a half
constexpr float LARGEST_LINEAR = 1.9990234375f;      // the largest half with bit 14 clear
constexpr u32 POLL_LIMIT = 1u << 24;                 // rounds after which something has gone wrong: seconds
constexpr float LOG2_E = 1.4426950408889634f;

// Vectors: halves [unit / 32][item][unit % 32].
struct Exchange {
  alignas(16) u16 prenet1[P * BATCH];
  alignas(16) u16 prenet2[P * BATCH];
  alignas(16) u16 attention_hidden[RA * BATCH];
  alignas(16) u16 context[E * BATCH];
  alignas(16) u16 decoder_hidden[RD * BATCH];
  alignas(16) u32 query[BATCH][A];
  alignas(16) u32 energies[BATCH][TOKENS];
  alignas(16) u32 stop;  // whether all items have stopped, above the tag
  u32 arrivals;          // of blocks, at grid barriers
};

// What one item does in one launch, where items have joined the batch at different times. Steps are its own, and one that
// is at its end is inactive: it is computed, but its state and its progress stay.
struct Row {
  int first_step, end;
  float gate_threshold;
};

struct Workspace {
  Exchange sets[2];
  alignas(16) u32 launches;
};
static_assert(sizeof(Workspace) == WORKSPACE_BYTES, "fused/plan.py computes another size");

struct Shared {
  uint4 weights[WARPS][larger(SHARED_COUNT, 1)][LANES];
  alignas(16) u64 columns[CONTEXT_SLOTS][BATCH][TOKENS];  // of the memory, as halves
  alignas(16) float feature[TILE_SLOTS][8][A + 4];  // location features and processed memory; padded against bank conflicts
  alignas(16) float lstm[WARPS][LSTM_ROWS][ITEMS];  // sums of each warp
  alignas(16) float rows[2][ROW_SLOTS][WARPS][8][ITEMS];
  alignas(16) float context[CONTEXT_SLOTS][BATCH][4];
  float bias[2][LSTM_ROWS];
  float window[TILE_SLOTS][2][WINDOW];  // attention weights, and their sum over the steps
  int length[BATCH];
  int stop;
};
static_assert(sizeof(Shared) == SHARED_BYTES, "fused/plan.py computes another size");
