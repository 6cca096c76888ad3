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
// docs/design-notes/fused-decoder.md has the whole argument in terms of the PTX memory model.
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
// ROWS. Items that join and leave between launches have a first step, an end and a gate threshold of their own. One that
// takes no part in a launch is computed beside the others, whose bits do not depend on it, and its state is not written.
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

#include "attention.cuh"
#include "rows.cuh"

constexpr int DROPOUT_BLOCKS = ceil_div(2 * PRENET, BLOCK_BITS);  // of a step

enum Event {  // clocks that TRACE records, each by one warp of a block
  HIDDEN_SEEN, PRENET_1_SEEN, PRENET_2_SEEN, ATTENTION_MADE, ATTENTION_SEEN, ENERGIES_MADE, ENERGIES_SEEN, CONTEXT_SEEN,
  HIDDEN_MADE, EVENTS
};

template <Event EVENT>
__device__ __forceinline__ void record(u32* trace, int step, int warp) {
  if constexpr (TRACE != 0) {
    if (thread_index() == warp * LANES) trace[(step * BLOCKS + blockIdx.x) * EVENTS + EVENT] = clocks();
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
    int first_step,                              // number of the first in its utterance; without rows
    float gate_threshold,                        // an item stops where its gate logit is larger; without rows
    float* attention_hidden, float* attention_cell,  // [B, RA]; these and the next five: the state, in and out
    float* decoder_hidden, float* decoder_cell,      // [B, RD]
    float* attention_weights, float* attention_weights_cum,  // [B, T]
    float* attention_context,                                // [B, E]
    float* __restrict__ mel,          // [steps, B, M]
    float* __restrict__ gate_logits,  // [steps, B]
    float* __restrict__ alignments,   // [steps, B, T]
    int* progress,  // [1 + B]: steps done in this launch; the step at which each item's gate fired, -1 until then
    Workspace* workspace,  // all zero before the first launch
    u32* trace,            // [steps + 1, BLOCKS, EVENTS] with TRACE: the last turn, which only projects, records too
    const Row* __restrict__ rows) {  // [B], or null: all items are active and have one first step and threshold
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  const int block = blockIdx.x, warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, item = lane % 8;

  const auto is_active = [&](int of) { return rows == nullptr || rows[of].first_step < rows[of].end; };
  const auto first_step_of = [&](int of) { return rows == nullptr ? first_step : rows[of].first_step; };
  int stopped_at = item < BATCH && is_active(item) ? progress[1 + item] : 0;  // used by the warp that makes gates
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
      if (prenet_dropout == nullptr) {
        return dropout_factor(&noise_keys[2 * item], first_step_of(item) + next, DROPOUT_BLOCKS, layer * PRENET + unit);
      }
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
        const bool is_first = item < BATCH && first_step_of(item) + step == 0;  // of the utterance: the prenet sees zeros
        const float kept = is_first ? 0.f : fmaxf(value, 0.f) * prenet_1_dropout[i];
        if (!over && item < BATCH) publish<POSITIVE_TAG>(exchange.prenet1, four * 4 + lane / 8, item, kept, tag);
        return;
      }
      const int band = (four - P / 4) * 4 + lane / 8;
      if (step > 0 && item < BATCH) {
        if (band < MEL) mel[((step - 1) * BATCH + item) * MEL + band] = value;
        if (band == MEL) {
          gate_logits[(step - 1) * BATCH + item] = value;
          const int done = first_step_of(item) + step;
          const bool is_over = value > (rows == nullptr ? gate_threshold : rows[item].gate_threshold) ||
                               (rows != nullptr && done >= rows[item].end);
          if (stopped_at < 0 && is_over) stopped_at = done - 1;
          if (is_active(item)) progress[1 + item] = stopped_at;
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
  if (item < BATCH && is_active(item)) {
    attention_units.save(attention_cell, attention_hidden, ATTENTION_RNN);
    decoder_units.save(decoder_cell, decoder_hidden, DECODER_RNN);
  }
  for (int i = threadIdx.x; i < CONTEXT_SLOTS * BATCH * 4; i += THREADS) {
    const int of = i / 4 % BATCH, place = (block + i / (4 * BATCH) * BLOCKS) * 4 + i % 4;
    if (place < ENCODER && is_active(of)) attention_context[of * ENCODER + place] = shared.context[i / (4 * BATCH)][of][i % 4];
  }
  for (int i = threadIdx.x; i < TILE_SLOTS * 8; i += THREADS) {
    const TokenTile tokens8(i / 8);
    const int token = tokens8.first + i % 8;
    if (token < tokens && is_active(tokens8.item)) {
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
