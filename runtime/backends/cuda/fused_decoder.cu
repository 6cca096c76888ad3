// Tacotron 2's decoder as one kernel: many autoregressive steps a launch, weights on the chip, no grid barrier.
//
// Dimension letters: B batch, T tokens, M mel bands of a step, E encoder width, A attention width, P prenet width,
// RA and RD widths of the attention LSTM and the decoder LSTM. Widths are padded here (see below); the padding's weights
// are zero, so what it computes is zero.
//
// HOW BLOCKS TALK. A step is a chain of seven products, each of which needs the whole of the vector before it:
//
//     decoder hidden -> prenet 1 -> prenet 2 -> attention hidden -> query -> energies -> context -> decoder hidden
//
// Between two of them every block must hear from every other. A grid barrier costs a fence, an atomic, a poll and then
// the load of the data: four trips to the L2 cache one after another. Here the data are their own flag. Each value in an
// exchange buffer (a half, or a float) has one bit that says in which round it was written, and readers poll the very
// values that they need until the bit is the expected one: two trips. Values are written and read with relaxed accesses
// of GPU scope, and nothing is inferred from one value about another: no fence is needed, and the order in which they
// become visible does not matter.
//   - The bit is free. Hidden states and contexts lie in (-2, 2), where bit 14 of a half is zero; what the prenet makes
//     is not negative, so its sign bit is free; a float gives its last mantissa bit.
//   - One bit is enough, and one buffer: a value of the next round is written only after data have come from every
//     block that were made from the value of this round, so nobody can still be waiting for it.
//   - A launch begins with a zeroed set of buffers and zeroes the other set for the launch after it.
// docs/fused-decoder.md has the whole argument in terms of the PTX memory model.
//
// With GRID_BARRIERS the same values are exchanged without polling: a grid barrier stands before every receive. Slower,
// and right by the plainest of arguments; the bit is written all the same, so both variants compute the same bits.
//
// WHO OWNS WHAT. All matrix products are mma.m16n8k16 with weights as the A operand and the batch as the eight columns of
// B: one item costs what eight do. A unit tile is 16 rows: the four gates of four LSTM units, so that the cell update
// stays in the block. Blocks own consecutive unit tiles of both LSTMs.
// The columns of a matrix are split over the block's warps: a warp reads from an exchange buffer only its own slice of
// the vector, straight into B fragments, and keeps its sums in registers while slice after slice comes in; at the end
// the warps' sums meet in shared memory. The small matrices (projection, second prenet layer, query) are cut into groups
// of eight rows, each owned by one block; tokens into tiles of eight, the context into quads of four columns.
//
// WHERE WEIGHTS LIVE. Each warp's tiles of each LSTM share are, in this order: held in registers for the whole launch,
// in shared memory, and the rest streamed from the L2 cache, loaded before the poll that precedes their use. The host
// says how many of each (HELD, SHARED). The small matrices are streamed the same way.
//
// ALGEBRA. The prenet's first layer sees only the mel frame, which is linear in the decoder LSTM's output, so its weights
// are multiplied with the projection's at packing: it comes out of the same product as the frame, one exchange earlier.
// An utterance begins with a frame of zeros, of which that layer, which has no bias, makes zeros. Energies are bounded by
// the sum of |v|, so the softmax needs no maximum where that is small (BOUNDED_ENERGIES).
//
// DROPOUT of a step is a pure function of seed, utterance and step (runtime/noise.py): each warp that finishes prenet rows
// draws what it needs for the next step while it waits for the attention's hidden state.
//
// A STEP, as every warp goes through it; >> what the next product waits for, .. what is done while waiting:
//     A  receive decoder hidden    >> projection rows: prenet 1 | mel, gate of the step before
//                                  .. decoder LSTM: share of its own hidden state
//     B  receive prenet 1          >> prenet 2 rows
//     C  receive prenet 2          >> attention LSTM: last share, cells, hidden state
//     D  receive attention hidden  >> query rows
//                                  .. decoder LSTM: share of the attention's hidden state
//     E  receive query             >> energies of the block's token tiles
//                                  .. attention LSTM of the next step: share of its own hidden state
//     F  receive energies          >> softmax, four columns of the context
//                                  .. attention windows of the block's token tiles; the alignment's row
//     G  receive context           >> decoder LSTM: last share, cells, hidden state
//                                  .. attention LSTM of the next step and projection: share of the context;
//                                     location features of the block's token tiles
//
// Constants given by the host, as macros before this text (fused/plan.py, Plan.header): BATCH, TOKENS (the most; a multiple
// of 128), BLOCKS, WARPS; MEL, PRENET, ENCODER, ATTENTION, ATTENTION_RNN, DECODER_RNN, TAPS; HELD, SHARED (k tiles a
// warp, of each share), SECTION_OFFSETS (bytes, in the packed weights), SHARED_BYTES, WORKSPACE_BYTES,
// BOUNDED_ENERGIES. Optional: GRID_BARRIERS (1: the plain variant, see HOW BLOCKS TALK), TRACE (1: record clocks, for
// measuring).
//
// Launch: BLOCKS x THREADS, SHARED_BYTES of dynamic shared memory, cooperative (all blocks must be resident).

#ifndef GRID_BARRIERS
#define GRID_BARRIERS 0
#endif
#ifndef TRACE
#define TRACE 0
#endif

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

#ifndef CUDA_EMULATION  // the tests' cuda_emulation.h has the same functions for the CPU

// threadIdx.x, read anew: what the compiler derived from it would otherwise stay in registers from step to step, where
// the weights should be.
__device__ __forceinline__ int thread_index() {
  int index = threadIdx.x;
  asm volatile("" : "+r"(index));
  return index;
}

__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char dynamic_shared[];
  return dynamic_shared;
}

// Values of an exchange buffer, several at a time; in the L2 cache.
__device__ __forceinline__ uint4 load_values(const uint4* address) {
  uint4 values;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(values.x), "=r"(values.y), "=r"(values.z), "=r"(values.w)
               : "l"(address));
  return values;
}
__device__ __forceinline__ uint2 load_values(const uint2* address) {
  uint2 values;
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0, %1}, [%2];" : "=r"(values.x), "=r"(values.y) : "l"(address));
  return values;
}
__device__ __forceinline__ u32 load_values(const u32* address) {
  u32 value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}
__device__ __forceinline__ void store_value(u16* address, u16 value) {
  asm volatile("st.relaxed.gpu.global.u16 [%0], %1;" ::"l"(address), "h"(value) : "memory");
}
__device__ __forceinline__ void store_value(u32* address, u32 value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

// A grid barrier's counter: what the block wrote before it adds is visible to whoever then acquires the sum.
__device__ __forceinline__ void release_add_one(u32* address) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(address) : "memory");
}
__device__ __forceinline__ u32 load_acquire(const u32* address) {
  u32 value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}

// Packed weights. Volatile, so that a load stays before the poll that it stands before, and is not repeated later.
__device__ __forceinline__ uint4 load_weights(const uint4* address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}
__device__ __forceinline__ uint2 load_weights(const uint2* address) {
  uint2 value;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "l"(address));
  return value;
}

// sum[16 x 8] += a[16 x 16] b[16 x 8]. Volatile, so that work stays on its side of a poll.
__device__ __forceinline__ void multiply(float (&sum)[4], uint4 a, uint2 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

__device__ __forceinline__ u32 to_half(float value) {  // the nearest half's 16 bits
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
__device__ __forceinline__ float from_half(u32 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<u16>(bits)));
  return value;
}
__device__ __forceinline__ float power_of_two(float x) {
  float value;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
}
__device__ __forceinline__ float reciprocal(float x) {
  float value;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
}
__device__ __forceinline__ void give_up() { asm volatile("trap;"); }

#endif  // CUDA_EMULATION

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

template <int N>
struct Fragments {  // of a vector: B operands of N k tiles, four values of one item in a lane
  uint2 tile[N];
};

__device__ __forceinline__ u32 tag_of(int round) { return ~round & 1; }

__device__ __forceinline__ void poll_again(u32& polls) {
  if (++polls == POLL_LIMIT) give_up();
}

__device__ __forceinline__ float sigmoid(float x) { return reciprocal(1.f + power_of_two(-LOG2_E * x)); }
__device__ __forceinline__ float hyperbolic_tangent(float x) {
  return 1.f - 2.f * reciprocal(1.f + power_of_two(2.f * LOG2_E * x));
}

__device__ __forceinline__ float within_linear(float x) { return fminf(fmaxf(x, -LARGEST_LINEAR), LARGEST_LINEAR); }

__device__ __forceinline__ float sum_of_lanes(float value) {
#pragma unroll
  for (int distance = LANES / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  return value;
}

// ---- Dropout ----------------------------------------------------------------------------------------------------

constexpr int DROPOUT_BITS = 256;  // of a Philox block: four words
constexpr int DROPOUT_BLOCKS = ceil_div(2 * PRENET, DROPOUT_BITS);  // of a step

// Philox 4x64-10 (Salmon et al., SC11) with counter (block, 0, 0, 0): the word of that index.
__device__ __forceinline__ u64 philox_word(u64 key0, u64 key1, u64 block, int index) {
  constexpr u64 M0 = 0xd2e7470ee14c6c93, M1 = 0xca5a826395121157;  // multipliers
  constexpr u64 W0 = 0x9e3779b97f4a7c15, W1 = 0xbb67ae8584caa73b;  // what a round adds to the key
  u64 x0 = block, x1 = 0, x2 = 0, x3 = 0;
#pragma unroll 1
  for (int round = 0; round < 10; ++round) {
    const u64 high0 = __umul64hi(M0, x0), low0 = M0 * x0, high1 = __umul64hi(M1, x2), low1 = M1 * x2;
    x0 = high1 ^ x1 ^ key0;
    x1 = low1;
    x2 = high0 ^ x3 ^ key1;
    x3 = low0;
    key0 += W0;
    key1 += W1;
  }
  return index < 2 ? (index == 0 ? x0 : x1) : (index == 2 ? x2 : x3);
}

// The factor of a unit of a prenet layer, 0 or 2: the bit of runtime/noise.py's stream 0, layers first.
__device__ __forceinline__ float draw_dropout(const u64* key, int step, int layer, int unit) {
  const int bit = layer * PRENET + unit;
  const int block = step * DROPOUT_BLOCKS + bit / DROPOUT_BITS + 1;  // NumPy increments its counter before it draws
  return philox_word(key[0], key[1], block, bit / 64 % 4) >> bit % 64 & 1 ? 2.f : 0.f;
}

// ---- Exchange ---------------------------------------------------------------------------------------------------

__device__ __forceinline__ int place_of(int unit, int item) { return (unit / 32 * BATCH + item) * 32 + unit % 32; }

template <TagBit BIT>
__device__ __forceinline__ void publish(u16* vector, int unit, int item, float value, u32 tag) {
  store_value(&vector[place_of(unit, item)], static_cast<u16>((to_half(value) & ~(1u << BIT)) | tag << BIT));
}

__device__ __forceinline__ void publish(u32* place, float value, u32 tag) {
  store_value(place, (__float_as_uint(value) & ~1u) | tag);
}

__device__ __forceinline__ float value_of(u32 published) { return __uint_as_float(published & ~1u); }

// Before a receive, with GRID_BARRIERS: returns when all blocks have come. barriers: how many this launch has had.
__device__ __forceinline__ void wait_for_all_blocks(Exchange& exchange, u32& barriers) {
  if constexpr (GRID_BARRIERS) {
    ++barriers;
    __syncthreads();
    if (thread_index() == 0) {
      release_add_one(&exchange.arrivals);
      u32 polls = 0;
      while (load_acquire(&exchange.arrivals) < barriers * BLOCKS) poll_again(polls);
    }
    __syncthreads();
  }
}

// Whether a poll that saw these bits, of which `tags` should be clear, has to look again.
__device__ __forceinline__ bool is_missing(u32 bits, u32 tags) { return !GRID_BARRIERS && (bits & tags) != 0; }

// This warp's slice of a vector, once all of it has come.
template <int WIDTH, TagBit BIT>
__device__ __forceinline__ Fragments<k_tiles(WIDTH)> receive(const u16* vector, u32 tag) {
  constexpr int N = k_tiles(WIDTH);
  constexpr u32 TAGS = 0x00010001u << BIT;  // of two halves
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES, item = lane / 4, quad = lane % 4;
  const int first = warp * N;
  Fragments<N> received = {};
  if (item < BATCH) {
    const u32 expected = tag * TAGS;
    u32 polls = 0, missing;
    do {
      missing = 0;
      if constexpr (N % 2 == 0) {  // two k tiles are neighbours
#pragma unroll
        for (int i = 0; i < N; i += 2) {
          if (first + i < WIDTH / 16) {
            const int place = place_of((first + i) * 16 + quad * 8, item);
            const uint4 both = load_values(reinterpret_cast<const uint4*>(&vector[place]));
            received.tile[i] = make_uint2(both.x, both.y);
            received.tile[i + 1] = make_uint2(both.z, both.w);
            missing |= (both.x ^ expected) | (both.y ^ expected) | (both.z ^ expected) | (both.w ^ expected);
          }
        }
      } else {
#pragma unroll
        for (int i = 0; i < N; ++i) {
          if (first + i < WIDTH / 16) {
            const int place = place_of((first + i) / 2 * 32 + quad * 8 + (first + i) % 2 * 4, item);
            received.tile[i] = load_values(reinterpret_cast<const uint2*>(&vector[place]));
            missing |= (received.tile[i].x ^ expected) | (received.tile[i].y ^ expected);
          }
        }
      }
      poll_again(polls);
    } while (is_missing(missing, TAGS));
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < N; ++i) received.tile[i] = make_uint2(received.tile[i].x & ~TAGS, received.tile[i].y & ~TAGS);
  return received;
}

// ---- LSTMs ------------------------------------------------------------------------------------------------------

struct Weights {  // where this lane finds its parts of this warp's tiles
  const unsigned char* packed;
  const uint4* shared;
  uint4 held[larger(HELD_COUNT, 1)];
};

template <Share S>
__device__ __forceinline__ const uint4* packed_tiles(const unsigned char* packed) {
  constexpr int TILES = k_tiles(SHARE_WIDTH[S]) * unit_tiles(S);
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES;
  return section<SHARE_SECTIONS + S, uint4>(packed) + ((blockIdx.x * WARPS + warp) * TILES * LANES + lane);
}

// A launch's first touch of a share's weights: registers and shared memory. Each lane later reads what it wrote itself.
template <Share S>
__device__ __forceinline__ void place_weights(Weights& weights, uint4* shared) {
  constexpr int HELD_HERE = HELD_TILES[S] * unit_tiles(S), SHARED_HERE = SHARED_TILES[S] * unit_tiles(S);
  constexpr int HELD_BEFORE = tiles_before(HELD_TILES, S), SHARED_BEFORE = tiles_before(SHARED_TILES, S);
  const uint4* tiles = packed_tiles<S>(weights.packed);
#pragma unroll
  for (int i = 0; i < HELD_HERE; ++i) weights.held[HELD_BEFORE + i] = load_weights(tiles + i * LANES);
#pragma unroll
  for (int i = 0; i < SHARED_HERE; ++i) {
    shared[(SHARED_BEFORE + i) * LANES] = load_weights(tiles + (HELD_HERE + i) * LANES);
  }
}

template <Share S>
struct Streamed {  // the tiles that are neither held nor shared
  static constexpr int FIRST = (HELD_TILES[S] + SHARED_TILES[S]) * unit_tiles(S);
  static constexpr int COUNT = k_tiles(SHARE_WIDTH[S]) * unit_tiles(S) - FIRST;
  uint4 tile[larger(COUNT, 1)];
};

template <Share S>
__device__ __forceinline__ Streamed<S> stream(const Weights& weights) {
  Streamed<S> streamed;
  const uint4* tiles = packed_tiles<S>(weights.packed);
#pragma unroll
  for (int i = 0; i < Streamed<S>::COUNT; ++i) {
    streamed.tile[i] = load_weights(tiles + (Streamed<S>::FIRST + i) * LANES);
  }
  return streamed;
}

template <Share S>
__device__ __forceinline__ void add_share(float (&sums)[unit_tiles(S)][4],
                                          const Fragments<k_tiles(SHARE_WIDTH[S])>& vector, const Weights& weights,
                                          const Streamed<S>& streamed) {
  constexpr int TILES = unit_tiles(S);
  constexpr int HELD_BEFORE = tiles_before(HELD_TILES, S), SHARED_BEFORE = tiles_before(SHARED_TILES, S);
  constexpr int FIRST_SHARED = HELD_TILES[S] * TILES, FIRST_STREAMED = Streamed<S>::FIRST;
  __syncwarp();
#pragma unroll
  for (int k = 0; k < k_tiles(SHARE_WIDTH[S]); ++k) {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
      const int i = k * TILES + tile;
      if (i < FIRST_SHARED) {
        multiply(sums[tile], weights.held[HELD_BEFORE + i], vector.tile[k]);
      } else if (i < FIRST_STREAMED) {
        multiply(sums[tile], weights.shared[(SHARED_BEFORE + i - FIRST_SHARED) * LANES], vector.tile[k]);
      } else {
        multiply(sums[tile], streamed.tile[i - FIRST_STREAMED], vector.tile[k]);
      }
    }
  }
}

template <int TILES>
__device__ __forceinline__ void clear(float (&sums)[TILES][4]) {
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[tile][i] = 0.f;
  }
}

// A lane's two neighbours of a row of a product's result, items 2 quad and 2 quad + 1.
__device__ __forceinline__ void store_pair(float* rows, int row, float first, float second) {
  const int quad = thread_index() % 4;
  if (2 * quad < BATCH) *reinterpret_cast<float2*>(&rows[row * ITEMS + 2 * quad]) = make_float2(first, second);
}

template <int TILES>
__device__ __forceinline__ void store_sums(float (&rows)[LSTM_ROWS][ITEMS], const float (&sums)[TILES][4]) {
  const int group = thread_index() % LANES / 4;
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile) {
    store_pair(rows[0], tile * 16 + group, sums[tile][0], sums[tile][1]);
    store_pair(rows[0], tile * 16 + group + 8, sums[tile][2], sums[tile][3]);
  }
}

// Cell and hidden states of the block's units of an LSTM. A warp updates a unit: its lanes are gate * 8 + item, and the
// states are in the lanes of gate 0.
template <int TILES>
struct Units {
  static constexpr int SLOTS = ceil_div(4 * TILES, WARPS);
  int first, count;
  float cell[SLOTS], hidden[SLOTS];

  __device__ __forceinline__ Units(int width) {
    first = static_cast<int>(blockIdx.x) * (width / 4) / BLOCKS * 4;
    count = (static_cast<int>(blockIdx.x) + 1) * (width / 4) / BLOCKS * 4 - first;
  }

  // visit(unit in this block, slot): for the units of this warp
  template <class Visit>
  __device__ __forceinline__ void each_unit(Visit visit) const {
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const int unit = slot * WARPS + thread_index() / LANES;
      if (unit < count) visit(unit, slot);
    }
  }

  __device__ __forceinline__ void load(const float* cells, const float* hiddens, int width, u16* vector, u32 tag) {
    const int item = thread_index() % LANES;
    each_unit([&](int unit, int slot) {
      const bool there = item < BATCH && first + unit < width;
      cell[slot] = there ? cells[item * width + first + unit] : 0.f;
      hidden[slot] = there ? hiddens[item * width + first + unit] : 0.f;
      if (item < BATCH) publish<LINEAR_TAG>(vector, first + unit, item, hidden[slot], tag);
    });
  }

  __device__ __forceinline__ void save(float* cells, float* hiddens, int width) const {
    const int item = thread_index() % LANES;
    each_unit([&](int unit, int slot) {
      if (item < BATCH && first + unit < width) {
        cells[item * width + first + unit] = cell[slot];
        hiddens[item * width + first + unit] = hidden[slot];
      }
    });
  }

  // The warps' sums -> gates -> states; the hidden state is published.
  __device__ __forceinline__ void update(const float (&sums)[WARPS][LSTM_ROWS][ITEMS], const float* bias, u16* vector,
                                         u32 tag) {
    const int lane = thread_index() % LANES, item = lane % 8, gate = lane / 8;
    each_unit([&](int unit, int slot) {
      const int row = unit * 4 + gate;
      float chains[2] = {bias[row], 0.f};
#pragma unroll
      for (int warp = 0; warp < WARPS; ++warp) chains[warp % 2] += item < BATCH ? sums[warp][row][item] : 0.f;
      const float sum = chains[0] + chains[1];
      const bool is_tangent = gate == 2;  // tanh(x) = 2 sigmoid(2 x) - 1
      const float curve = sigmoid(is_tangent ? 2.f * sum : sum);
      const float in = is_tangent ? 2.f * curve - 1.f : curve;
      const float forget = __shfl_down_sync(ALL_LANES, in, 8);
      const float candidate = __shfl_down_sync(ALL_LANES, in, 16);
      const float out = __shfl_down_sync(ALL_LANES, in, 24);
      cell[slot] = forget * cell[slot] + in * candidate;
      hidden[slot] = out * hyperbolic_tangent(cell[slot]);
      if (lane < BATCH) publish<LINEAR_TAG>(vector, first + unit, lane, hidden[slot], tag);
    });
  }
};

// ---- Small matrices, in groups of eight rows ------------------------------------------------------------------------

template <int GROUPS, int BEFORE>
struct RowGroups {  // BEFORE: groups of other matrices, which go to the blocks before this one's first
  static constexpr int COUNT = GROUPS, SLOTS = ceil_div(GROUPS, BLOCKS);
  static constexpr int FOURS = ceil_div(2 * SLOTS, WARPS);  // that a warp finishes

  static __device__ __forceinline__ int group(int slot) {  // GROUPS or more: none
    return (blockIdx.x + BLOCKS - BEFORE % BLOCKS) % BLOCKS + slot * BLOCKS;
  }
  static __device__ __forceinline__ bool any() { return group(0) < GROUPS; }

  // visit(i-th of this warp, slot, which four of the eight rows, number of the four): for the fours whose sums this warp
  // finishes
  template <class Visit>
  static __device__ __forceinline__ void each_four(Visit visit) {
#pragma unroll
    for (int i = 0; i < FOURS; ++i) {
      const int four = i * WARPS + thread_index() / LANES, slot = four / 2;
      if (four < 2 * SLOTS && group(slot) < GROUPS) visit(i, slot, four % 2, group(slot) * 2 + four % 2);
    }
  }
};
using Projection = RowGroups<PROJECTION_GROUPS, 0>;
using Prenet2 = RowGroups<PRENET_GROUPS, PROJECTION_GROUPS>;
using Query = RowGroups<QUERY_GROUPS, PROJECTION_GROUPS + PRENET_GROUPS>;

template <class Rows, int WIDTH>
struct RowTiles {
  uint2 tile[Rows::SLOTS][k_tiles(WIDTH)];
};

template <class Rows, int WIDTH, Section SECTION>
__device__ __forceinline__ RowTiles<Rows, WIDTH> stream_rows(const unsigned char* packed) {
  constexpr int N = k_tiles(WIDTH);
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES;
  const uint2* tiles = section<SECTION, uint2>(packed);
  RowTiles<Rows, WIDTH> streamed = {};
#pragma unroll
  for (int slot = 0; slot < Rows::SLOTS; ++slot) {
    if (Rows::group(slot) < Rows::COUNT) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        streamed.tile[slot][k] = load_weights(tiles + ((Rows::group(slot) * WARPS + warp) * N + k) * LANES + lane);
      }
    }
  }
  return streamed;
}

template <class Rows, int WIDTH>
__device__ __forceinline__ void add_rows(float (&sums)[Rows::SLOTS][4], const Fragments<k_tiles(WIDTH)>& vector,
                                         const RowTiles<Rows, WIDTH>& streamed) {
  __syncwarp();
#pragma unroll
  for (int slot = 0; slot < Rows::SLOTS; ++slot) {
    float odd[4] = {};  // a second chain of sums: a product waits for the one before it
#pragma unroll
    for (int k = 0; k < k_tiles(WIDTH); ++k) {
      const uint2 a = streamed.tile[slot][k];
      multiply(k % 2 == 0 ? sums[slot] : odd, make_uint4(a.x, 0, a.y, 0), vector.tile[k]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) sums[slot][i] += odd[i];
  }
}

using RowSums = float[ROW_SLOTS][WARPS][8][ITEMS];

template <int SLOTS>
__device__ __forceinline__ void store_rows(RowSums& rows, const float (&sums)[SLOTS][4]) {
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) {
    store_pair(rows[slot][thread_index() / LANES][0], thread_index() % LANES / 4, sums[slot][0], sums[slot][1]);
  }
}

// Of one row in each eight lanes, for one item in each of them.
__device__ __forceinline__ float finish_row(const RowSums& rows, int slot, int half) {
  const int lane = thread_index() % LANES, item = lane % 8;
  float chains[2] = {};
#pragma unroll
  for (int warp = 0; warp < WARPS; ++warp) {
    chains[warp % 2] += item < BATCH ? rows[slot][warp][half * 4 + lane / 8][item] : 0.f;
  }
  return chains[0] + chains[1];
}

// ---- Attention --------------------------------------------------------------------------------------------------

struct TokenTile {
  int item, first;  // token

  // Tiles go to blocks from the last on, since the first ones own rows of the projection.
  __device__ __forceinline__ explicit TokenTile(int slot) {
    const int tile = slot * BLOCKS + (BLOCKS - 1 - blockIdx.x);
    item = tile % BATCH;
    first = tile / BATCH * 8;
  }
  // Whether any of its tokens are to be attended to; tiles beyond the batch's last are not.
  __device__ __forceinline__ bool active(const Shared& shared) const {
    return first < TOKENS && first < shared.length[item];
  }
};

// Location features, a convolution over the windows, plus processed memory. Half precision would not do here, so weights
// and windows are each a sum of two halves, and three of the four products are taken.
__device__ __forceinline__ void locate(Shared& shared, const unsigned char* packed, const float* processed_memory,
                                       int tokens) {
  constexpr int M_TILES = A / 16, K_TILES = 2 * TAP_TILES;
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES, group = lane / 4, quad = lane % 4;
  const uint4* tiles = section<LOCATION, uint4>(packed) + lane;
  for (int task = warp; task < TILE_SLOTS * M_TILES; task += WARPS) {
    const int slot = task / M_TILES, m = task % M_TILES;
    const TokenTile tokens8(slot);
    if (!tokens8.active(shared)) continue;
    uint4 parts[K_TILES][2];  // high, low
#pragma unroll
    for (int i = 0; i < 2 * K_TILES; ++i) parts[i / 2][i % 2] = load_weights(tiles + (m * K_TILES * 2 + i) * LANES);
    float sum[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // dimensions m * 16 + group and + 8, tokens 2 quad and 2 quad + 1
      const int dimension = m * 16 + group + i / 2 * 8, token = tokens8.first + 2 * quad + i % 2;
      const bool there = dimension < ATTENTION && token < tokens;
      sum[i] = there ? processed_memory[(tokens8.item * tokens + token) * ATTENTION + dimension] : 0.f;
    }
    __syncwarp();
#pragma unroll
    for (int k = 0; k < K_TILES; ++k) {
      const float* values = &shared.window[slot][k / TAP_TILES][k % TAP_TILES * 16 + quad * 4 + group];
      u32 high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        high[i] = to_half(values[i]);
        low[i] = to_half(values[i] - from_half(high[i]));
      }
      const uint2 high_values = make_uint2(high[0] | high[1] << 16, high[2] | high[3] << 16);
      const uint2 low_values = make_uint2(low[0] | low[1] << 16, low[2] | low[3] << 16);
      multiply(sum, parts[k][0], high_values);
      multiply(sum, parts[k][0], low_values);
      multiply(sum, parts[k][1], high_values);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) shared.feature[slot][2 * quad + i % 2][m * 16 + group + i / 2 * 8] = sum[i];
  }
}

// Energies of the block's tokens, a warp for each.
__device__ __forceinline__ void attend(const Shared& shared, const unsigned char* packed, Exchange& exchange, u32 tag) {
  const int thread = thread_index(), warp = thread / LANES, lane = thread % LANES;
  for (int task = warp; task < TILE_SLOTS * 8; task += WARPS) {
    const TokenTile tokens8(task / 8);
    const int token = tokens8.first + task % 8;
    if (!tokens8.active(shared) || token >= shared.length[tokens8.item]) continue;
    float energy = 0.f;
#pragma unroll
    for (int chunk = 0; chunk < A / 128; ++chunk) {
      const int first = chunk * 128 + lane * 4;
      const float4 v = section<ENERGY, float4>(packed)[first / 4];
      const float4 feature = *reinterpret_cast<const float4*>(&shared.feature[task / 8][task % 8][first]);
      u32 polls = 0;
      uint4 query;
      do {
        query = load_values(reinterpret_cast<const uint4*>(&exchange.query[tokens8.item][first]));
        poll_again(polls);
      } while (is_missing((query.x ^ tag) | (query.y ^ tag) | (query.z ^ tag) | (query.w ^ tag), 1));
      energy += v.x * hyperbolic_tangent(feature.x + value_of(query.x));
      energy += v.y * hyperbolic_tangent(feature.y + value_of(query.y));
      energy += v.z * hyperbolic_tangent(feature.z + value_of(query.z));
      energy += v.w * hyperbolic_tangent(feature.w + value_of(query.w));
    }
    __syncwarp();
    energy = sum_of_lanes(energy);
    if (lane == 0) publish(&exchange.energies[tokens8.item][token], energy, tag);
  }
}

struct Energies {  // of an item: lane l has tokens 128 c + 4 l .. + 3 of each chunk c; then the attention weights
  float value[CHUNKS][4];
};

__device__ __forceinline__ Energies receive_energies(const u32* energies, int length, u32 tag) {
  const int lane = thread_index() % LANES;
  uint4 loaded[CHUNKS] = {};
  u32 polls = 0;
  u32 missing;
  do {
    missing = 0;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
      const int token = chunk * 128 + lane * 4;
      if (token < length) {
        loaded[chunk] = load_values(reinterpret_cast<const uint4*>(&energies[token]));
        missing |= loaded[chunk].x ^ tag;
        missing |= token + 1 < length ? loaded[chunk].y ^ tag : 0;
        missing |= token + 2 < length ? loaded[chunk].z ^ tag : 0;
        missing |= token + 3 < length ? loaded[chunk].w ^ tag : 0;
      }
    }
    poll_again(polls);
  } while (is_missing(missing, 1));
  __syncwarp();
  Energies received;
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    received.value[chunk][0] = value_of(loaded[chunk].x);
    received.value[chunk][1] = value_of(loaded[chunk].y);
    received.value[chunk][2] = value_of(loaded[chunk].z);
    received.value[chunk][3] = value_of(loaded[chunk].w);
  }
  return received;
}

// Energies -> weights that are not yet divided by their sum, zero beyond the length.
__device__ __forceinline__ void exponentiate(Energies& energies, int length) {
  const int lane = thread_index() % LANES;
  float largest = 0.f;
  if constexpr (!BOUNDED_ENERGIES) {
    largest = -__int_as_float(0x7f800000);
#pragma unroll
    for (int i = 0; i < CHUNKS * 4; ++i) {
      const bool there = i / 4 * 128 + lane * 4 + i % 4 < length;
      largest = fmaxf(largest, there ? energies.value[i / 4][i % 4] : largest);
    }
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, distance));
    }
  }
#pragma unroll
  for (int i = 0; i < CHUNKS * 4; ++i) {
    const bool there = i / 4 * 128 + lane * 4 + i % 4 < length;
    float& value = energies.value[i / 4][i % 4];
    value = there ? power_of_two(LOG2_E * (value - largest)) : 0.f;
  }
}

// The attention weights of an item into the windows of this block's token tiles.
__device__ __forceinline__ void move_windows(Shared& shared, const Energies& weights, int item) {
  const int lane = thread_index() % LANES;
#pragma unroll 1
  for (int slot = 0; slot < TILE_SLOTS; ++slot) {
    const TokenTile tokens8(slot);
    if (tokens8.item != item || !tokens8.active(shared)) continue;
#pragma unroll
    for (int i = 0; i < CHUNKS * 4; ++i) {
      const int place = i / 4 * 128 + lane * 4 + i % 4 - (tokens8.first - WINDOW_BEFORE);
      if (place >= 0 && place < WINDOW) {
        shared.window[slot][0][place] = weights.value[i / 4][i % 4];
        shared.window[slot][1][place] += weights.value[i / 4][i % 4];
      }
    }
  }
}

// ---- The kernel -------------------------------------------------------------------------------------------------

enum Event {  // clocks that TRACE records, each by one warp of a block
  HIDDEN_SEEN, PRENET_1_SEEN, PRENET_2_SEEN, ATTENTION_MADE, ATTENTION_SEEN, ENERGIES_MADE, ENERGIES_SEEN, CONTEXT_SEEN,
  HIDDEN_MADE, EVENTS
};

template <Event EVENT>
__device__ __forceinline__ void record(u32* trace, int step, int warp) {
  if constexpr (TRACE != 0) {
    if (thread_index() == warp * LANES) {
      u32 clocks;
      asm volatile("mov.u32 %0, %%clock;" : "=r"(clocks));
      trace[(step * BLOCKS + blockIdx.x) * EVENTS + EVENT] = clocks;
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) fused_decoder(
    const unsigned char* __restrict__ packed,
    const float* __restrict__ memory,            // [B, T, E]
    const float* __restrict__ processed_memory,  // [B, T, A]
    const int* __restrict__ lengths,             // [B]: tokens of each item, 1 to T
    int tokens,                                  // T, at most TOKENS
    const u64* __restrict__ noise_keys,          // [B, 2]: seed and utterance, of which the dropout is drawn
    const float* __restrict__ prenet_dropout,    // [steps, B, 2, P]: factors in place of drawn ones, or null
    int steps,                                   // to do in this launch, unless all items stop; at least 1
    int first_step,                              // number of the first in its utterance
    float gate_threshold,                        // an item stops where its gate logit is larger
    float* attention_hidden, float* attention_cell,  // [B, RA]; these and the next five: the state, in and out
    float* decoder_hidden, float* decoder_cell,      // [B, RD]
    float* attention_weights, float* attention_weights_cum,  // [B, T]
    float* attention_context,                                // [B, E]
    float* __restrict__ mel,          // [steps, B, M]
    float* __restrict__ gate_logits,  // [steps, B]
    float* __restrict__ alignments,   // [steps, B, T]
    int* progress,  // [1 + B]: steps done in this launch; the step at which each item's gate fired, -1 until then
    Workspace* workspace,  // all zero before the first launch
    u32* trace) {          // [steps, BLOCKS, EVENTS] with TRACE
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  const int block = blockIdx.x, warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, item = lane % 8;

  int stopped_at = item < BATCH ? progress[1 + item] : 0;  // used by the warp that makes gates
  if (__all_sync(ALL_LANES, stopped_at >= 0)) {
    if (block == 0 && threadIdx.x == 0) progress[0] = 0;
    return;
  }

  // Prologue: weights, what stays the same for all steps, and the state as round 0 of the vectors that are states.
  const u32 launches = workspace->launches;
  Exchange& exchange = workspace->sets[launches & 1];
  u32* next_exchange = reinterpret_cast<u32*>(&workspace->sets[~launches & 1]);
  for (int i = block * THREADS + threadIdx.x; i < static_cast<int>(sizeof(Exchange) / 4); i += BLOCKS * THREADS) {
    next_exchange[i] = 0;
  }
  Weights weights;
  weights.packed = packed;
  weights.shared = &shared.weights[warp][0][lane];
  place_weights<ATT_PRENET>(weights, &shared.weights[warp][0][lane]);
  place_weights<ATT_CONTEXT>(weights, &shared.weights[warp][0][lane]);
  place_weights<ATT_HIDDEN>(weights, &shared.weights[warp][0][lane]);
  place_weights<DEC_ATTENTION>(weights, &shared.weights[warp][0][lane]);
  place_weights<DEC_CONTEXT>(weights, &shared.weights[warp][0][lane]);
  place_weights<DEC_HIDDEN>(weights, &shared.weights[warp][0][lane]);

  Units<ATT_TILES> attention_units(RA);
  Units<DEC_TILES> decoder_units(RD);
  for (int i = threadIdx.x; i < LSTM_ROWS; i += THREADS) {
    const float* attention_bias = section<ATT_BIAS, float>(packed);
    const float* decoder_bias = section<DEC_BIAS, float>(packed);
    if (i < attention_units.count * 4) shared.bias[0][i] = attention_bias[attention_units.first * 4 + i];
    if (i < decoder_units.count * 4) shared.bias[1][i] = decoder_bias[decoder_units.first * 4 + i];
  }
  for (int i = threadIdx.x; i < CONTEXT_SLOTS * BATCH * TOKENS; i += THREADS) {
    const int slot = i / (BATCH * TOKENS), of = i / TOKENS % BATCH, token = i % TOKENS;
    u64 halves = 0;
    for (int column = 3; column >= 0; --column) {
      const int place = (block + slot * BLOCKS) * 4 + column;
      const bool there = token < tokens && place < ENCODER;
      halves = halves << 16 | to_half(there ? memory[(of * tokens + token) * ENCODER + place] : 0.f);
    }
    shared.columns[slot][of][token] = halves;
  }
  for (int i = threadIdx.x; i < TILE_SLOTS * WINDOW; i += THREADS) {
    const TokenTile tokens8(i / WINDOW);
    const int token = tokens8.first - WINDOW_BEFORE + i % WINDOW;
    const bool there = token >= 0 && token < tokens;
    shared.window[i / WINDOW][0][i % WINDOW] = there ? attention_weights[tokens8.item * tokens + token] : 0.f;
    shared.window[i / WINDOW][1][i % WINDOW] = there ? attention_weights_cum[tokens8.item * tokens + token] : 0.f;
  }
  for (int i = threadIdx.x; i < CONTEXT_SLOTS * BATCH * 4; i += THREADS) {
    const int of = i / 4 % BATCH, column = (block + i / (4 * BATCH) * BLOCKS) * 4 + i % 4;
    const float value = column < ENCODER ? attention_context[of * ENCODER + column] : 0.f;
    if (column < E) publish<LINEAR_TAG>(exchange.context, column, of, within_linear(value), tag_of(0));
  }
  if (threadIdx.x < BATCH) shared.length[threadIdx.x] = lengths[threadIdx.x];
  attention_units.load(attention_cell, attention_hidden, ATTENTION_RNN, exchange.attention_hidden, tag_of(0));

  u32 barriers = 0;
  wait_for_all_blocks(exchange, barriers);
  float attention_sums[ATT_TILES][4], decoder_sums[DEC_TILES][4], projection_sums[PROJECTION_SLOTS][4];
  clear(attention_sums);
  clear(projection_sums);
  {
    const Streamed<ATT_HIDDEN> hidden_weights = stream<ATT_HIDDEN>(weights);
    const auto hidden = receive<RA, LINEAR_TAG>(exchange.attention_hidden, tag_of(0));
    add_share<ATT_HIDDEN>(attention_sums, hidden, weights, hidden_weights);
    const Streamed<ATT_CONTEXT> context_weights = stream<ATT_CONTEXT>(weights);
    const auto context = receive<E, LINEAR_TAG>(exchange.context, tag_of(0));
    add_share<ATT_CONTEXT>(attention_sums, context, weights, context_weights);
    if (Projection::any()) {
      add_rows<Projection, E>(projection_sums, context, stream_rows<Projection, E, PROJECTION_CONTEXT>(packed));
    }
  }
  __syncthreads();
  // Only now: without this block's hidden states nobody makes round 1 of what it had to read in round 0.
  decoder_units.load(decoder_cell, decoder_hidden, DECODER_RNN, exchange.decoder_hidden, tag_of(0));
  locate(shared, packed, processed_memory, tokens);

  // Dropout of the next step, of the rows that this warp finishes: 0 or 2.
  float prenet_1_dropout[Projection::FOURS] = {}, prenet_2_dropout[Prenet2::FOURS] = {};
  const auto prepare_dropout = [&](int next) {
    if (next == steps || item >= BATCH) return;
    const auto factor = [&](int layer, int unit) {
      if (unit >= PRENET) return 0.f;
      if (prenet_dropout == nullptr) return draw_dropout(&noise_keys[2 * item], first_step + next, layer, unit);
      return prenet_dropout[((next * BATCH + item) * 2 + layer) * PRENET + unit];
    };
    Projection::each_four([&](int i, int, int, int four) { prenet_1_dropout[i] = factor(0, four * 4 + lane / 8); });
    Prenet2::each_four([&](int i, int, int, int four) { prenet_2_dropout[i] = factor(1, four * 4 + lane / 8); });
  };
  prepare_dropout(0);

  const float* projection_bias = section<PROJECTION_BIAS, float>(packed);
  bool all_stopped = false;
  int step = 0;
  for (;; ++step) {
    const bool over = step == steps || all_stopped;  // only the last frame is left to be projected
    const u32 tag = tag_of(step), next_tag = tag_of(step + 1);

    // A: decoder hidden -> prenet 1 of this step; mel and gate of the one before
    float bias[Projection::FOURS] = {};
    Projection::each_four([&](int i, int, int, int four) { bias[i] = projection_bias[four * 4 + lane / 8]; });
    clear(decoder_sums);
    const Streamed<DEC_HIDDEN> hidden_weights = stream<DEC_HIDDEN>(weights);
    const auto projection_weights = stream_rows<Projection, RD, PROJECTION_HIDDEN>(packed);
    wait_for_all_blocks(exchange, barriers);
    const auto hidden = receive<RD, LINEAR_TAG>(exchange.decoder_hidden, tag);
    record<HIDDEN_SEEN>(trace, step, 0);
    if (Projection::any()) {
      add_rows<Projection, RD>(projection_sums, hidden, projection_weights);
      store_rows(shared.rows[0], projection_sums);
    }
    __syncthreads();
    Projection::each_four([&](int i, int slot, int half, int four) {
      const float value = finish_row(shared.rows[0], slot, half) + bias[i];
      if (four < P / 4) {
        const bool is_first = first_step + step == 0;  // of the utterance: the prenet sees zeros
        const float kept = is_first ? 0.f : fmaxf(value, 0.f) * prenet_1_dropout[i];
        if (!over && item < BATCH) publish<POSITIVE_TAG>(exchange.prenet1, four * 4 + lane / 8, item, kept, tag);
        return;
      }
      const int band = (four - P / 4) * 4 + lane / 8;
      if (step > 0 && item < BATCH) {
        if (band < MEL) mel[((step - 1) * BATCH + item) * MEL + band] = value;
        if (band == MEL) {
          gate_logits[(step - 1) * BATCH + item] = value;
          if (stopped_at < 0 && value > gate_threshold) stopped_at = first_step + step - 1;
          progress[1 + item] = stopped_at;
        }
      }
      if (four == P / 4 + MEL / 4) {
        const bool running = __any_sync(ALL_LANES, band == MEL && item < BATCH && stopped_at < 0);
        if (lane == 0) store_value(&exchange.stop, (running ? 0u : 2u) | tag);
      }
    });
    if (over) break;
    add_share<DEC_HIDDEN>(decoder_sums, hidden, weights, hidden_weights);

    // B: prenet 1 -> prenet 2
    wait_for_all_blocks(exchange, barriers);
    if (Prenet2::any()) {
      float sums[PRENET_SLOTS][4];
      clear(sums);
      const auto row_weights = stream_rows<Prenet2, P, PRENET_2>(packed);
      const auto vector = receive<P, POSITIVE_TAG>(exchange.prenet1, tag);
      record<PRENET_1_SEEN>(trace, step, 0);
      add_rows<Prenet2, P>(sums, vector, row_weights);
      store_rows(shared.rows[1], sums);
      __syncthreads();
      Prenet2::each_four([&](int i, int slot, int half, int four) {
        const float value = fmaxf(finish_row(shared.rows[1], slot, half), 0.f) * prenet_2_dropout[i];
        if (item < BATCH) publish<POSITIVE_TAG>(exchange.prenet2, four * 4 + lane / 8, item, value, tag);
      });
    }

    // C: prenet 2 -> attention LSTM
    {
      const Streamed<ATT_PRENET> share_weights = stream<ATT_PRENET>(weights);
      wait_for_all_blocks(exchange, barriers);
      const auto vector = receive<P, POSITIVE_TAG>(exchange.prenet2, tag);
      record<PRENET_2_SEEN>(trace, step, 0);
      add_share<ATT_PRENET>(attention_sums, vector, weights, share_weights);
      store_sums(shared.lstm[warp], attention_sums);
      __syncthreads();
      attention_units.update(shared.lstm, shared.bias[0], exchange.attention_hidden, next_tag);
      record<ATTENTION_MADE>(trace, step, 0);
    }

    // D: attention hidden -> query
    prepare_dropout(step + 1);
    float query_sums[QUERY_SLOTS][4];
    clear(query_sums);
    const Streamed<DEC_ATTENTION> share_weights = stream<DEC_ATTENTION>(weights);
    const auto query_weights = stream_rows<Query, RA, QUERY>(packed);
    wait_for_all_blocks(exchange, barriers);
    const auto attention = receive<RA, LINEAR_TAG>(exchange.attention_hidden, next_tag);
    record<ATTENTION_SEEN>(trace, step, 0);
    if (Query::any()) {
      add_rows<Query, RA>(query_sums, attention, query_weights);
      store_rows(shared.rows[0], query_sums);
    }
    __syncthreads();
    Query::each_four([&](int, int slot, int half, int four) {
      const float value = finish_row(shared.rows[0], slot, half);
      if (item < BATCH) publish(&exchange.query[item][four * 4 + lane / 8], value, tag);
    });
    add_share<DEC_ATTENTION>(decoder_sums, attention, weights, share_weights);

    // E: query -> energies
    wait_for_all_blocks(exchange, barriers);
    attend(shared, packed, exchange, tag);
    record<ENERGIES_MADE>(trace, step, 0);
    clear(attention_sums);
    add_share<ATT_HIDDEN>(attention_sums, attention, weights, stream<ATT_HIDDEN>(weights));

    // F: energies -> context
    wait_for_all_blocks(exchange, barriers);
    for (int task = WARPS - 1 - warp; task < CONTEXT_SLOTS * BATCH; task += WARPS) {
      const int slot = task / BATCH, of = task % BATCH, length = shared.length[of];
      const int quad_of_columns = block + slot * BLOCKS;
      Energies energies = receive_energies(exchange.energies[of], length, tag);
      record<ENERGIES_SEEN>(trace, step, WARPS - 1);
      exponentiate(energies, length);
      float total = 0.f, columns[4] = {};
#pragma unroll
      for (int i = 0; i < CHUNKS * 4; ++i) {
        const float weight = energies.value[i / 4][i % 4];
        total += weight;
        const int pair = (i / 4 * 128 + lane * 4 + i % 4) / 2;
        const ulonglong2 both = reinterpret_cast<const ulonglong2*>(shared.columns[slot][of])[pair];
        const u64 halves = i % 2 == 0 ? both.x : both.y;
#pragma unroll
        for (int column = 0; column < 4; ++column) columns[column] += weight * from_half(halves >> 16 * column & 0xffff);
      }
      const float scale = reciprocal(sum_of_lanes(total));
#pragma unroll
      for (int column = 0; column < 4; ++column) columns[column] = sum_of_lanes(columns[column]) * scale;
      if (lane < 4 && quad_of_columns < E / 4) {
        const float value = lane < 2 ? (lane == 0 ? columns[0] : columns[1]) : (lane == 2 ? columns[2] : columns[3]);
        publish<LINEAR_TAG>(exchange.context, quad_of_columns * 4 + lane, of, within_linear(value), next_tag);
        shared.context[slot][of][lane] = value;
      }
      if (slot == 0) {
#pragma unroll
        for (int i = 0; i < CHUNKS * 4; ++i) {
          float& weight = energies.value[i / 4][i % 4];
          weight *= scale;
          const int token = i / 4 * 128 + lane * 4 + i % 4;
          if (block == of % BLOCKS && token < tokens) alignments[(step * BATCH + of) * tokens + token] = weight;
        }
        move_windows(shared, energies, of);
      }
    }
    if (threadIdx.x == 0) {
      u32 polls = 0;
      u32 stop;
      do {
        stop = load_values(&exchange.stop);
        poll_again(polls);
      } while (is_missing(stop ^ tag, 1));
      shared.stop = stop >> 1;
    }
    __syncwarp();

    // G: context -> decoder LSTM
    const Streamed<DEC_CONTEXT> context_weights = stream<DEC_CONTEXT>(weights);
    wait_for_all_blocks(exchange, barriers);
    const auto context = receive<E, LINEAR_TAG>(exchange.context, next_tag);
    record<CONTEXT_SEEN>(trace, step, 0);
    add_share<DEC_CONTEXT>(decoder_sums, context, weights, context_weights);
    store_sums(shared.lstm[warp], decoder_sums);
    __syncthreads();
    decoder_units.update(shared.lstm, shared.bias[1], exchange.decoder_hidden, next_tag);
    record<HIDDEN_MADE>(trace, step, 0);
    all_stopped = shared.stop != 0;
    add_share<ATT_CONTEXT>(attention_sums, context, weights, stream<ATT_CONTEXT>(weights));
    if (Projection::any()) {
      clear(projection_sums);
      add_rows<Projection, E>(projection_sums, context, stream_rows<Projection, E, PROJECTION_CONTEXT>(packed));
    }
    locate(shared, packed, processed_memory, tokens);
  }

  // Epilogue: the state.
  attention_units.save(attention_cell, attention_hidden, ATTENTION_RNN);
  decoder_units.save(decoder_cell, decoder_hidden, DECODER_RNN);
  for (int i = threadIdx.x; i < CONTEXT_SLOTS * BATCH * 4; i += THREADS) {
    const int of = i / 4 % BATCH, place = (block + i / (4 * BATCH) * BLOCKS) * 4 + i % 4;
    if (place < ENCODER) attention_context[of * ENCODER + place] = shared.context[i / (4 * BATCH)][of][i % 4];
  }
  for (int i = threadIdx.x; i < TILE_SLOTS * 8; i += THREADS) {
    const TokenTile tokens8(i / 8);
    const int token = tokens8.first + i % 8;
    if (token < tokens) {
      const float weight = token < shared.length[tokens8.item] ? shared.window[i / 8][0][WINDOW_BEFORE + i % 8] : 0.f;
      attention_weights[tokens8.item * tokens + token] = weight;
      attention_weights_cum[tokens8.item * tokens + token] = shared.window[i / 8][1][WINDOW_BEFORE + i % 8];
    }
  }
  if (block == 0 && threadIdx.x == 0) {
    progress[0] = step;
    workspace->launches = launches + 1;
  }
}
