// Coins of ChaCha8's stream under a key: a value is 1 with a probability, else 0.
//
// The stream is words of 32 bits. Values are drawn in pieces of PIECE: a byte of the stream decides each, unless it is the
// probability's own first byte; then a whole word does, and those of a piece follow its bytes, in their order. So where a
// piece begins depends on the bytes of all before it. A block of threads makes the stream of one lane window by window,
// counts in each which bytes leave it open, and finds from the counts where the pieces of the window begin.
//
// Bernstein 2008, "ChaCha, a variant of Salsa20", with 8 rounds, a counter of 64 bits from 0 and the nonce 0.

#include "shared.cuh"

constexpr int THREADS = 256, WORDS_OF_BLOCK = 16;
constexpr int WINDOW = THREADS * WORDS_OF_BLOCK;
constexpr int PIECE = 1024, WORDS_OF_PIECE = PIECE / 4;
// The most words that a piece takes: one for each byte that leaves it open, behind those of the bytes.
constexpr int MOST_OF_PIECE = WORDS_OF_PIECE + PIECE;
constexpr int MOST_PIECES = WINDOW / WORDS_OF_PIECE;

static __device__ inline unsigned rotated(unsigned x, int by) { return (x << by) | (x >> (32 - by)); }

static __device__ inline void quarter_round(unsigned &a, unsigned &b, unsigned &c, unsigned &d) {
  a += b, d = rotated(d ^ a, 16);
  c += d, b = rotated(b ^ c, 12);
  a += b, d = rotated(d ^ a, 8);
  c += d, b = rotated(b ^ c, 7);
}

// The words of the stream's block of this number.
static __device__ inline void block_of_stream(const unsigned *key, unsigned long long number, unsigned *out) {
  const unsigned start[WORDS_OF_BLOCK] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key[0], key[1], key[2], key[3],
                                          key[4],     key[5],     key[6],     key[7],     unsigned(number),
                                          unsigned(number >> 32), 0, 0};
  unsigned x[WORDS_OF_BLOCK];
#pragma unroll
  for (int i = 0; i < WORDS_OF_BLOCK; ++i) x[i] = start[i];
#pragma unroll
  for (int pair = 0; pair < 4; ++pair) {
    quarter_round(x[0], x[4], x[8], x[12]);
    quarter_round(x[1], x[5], x[9], x[13]);
    quarter_round(x[2], x[6], x[10], x[14]);
    quarter_round(x[3], x[7], x[11], x[15]);
    quarter_round(x[0], x[5], x[10], x[15]);
    quarter_round(x[1], x[6], x[11], x[12]);
    quarter_round(x[2], x[7], x[8], x[13]);
    quarter_round(x[3], x[4], x[9], x[14]);
  }
#pragma unroll
  for (int i = 0; i < WORDS_OF_BLOCK; ++i) out[i] = x[i] + start[i];
}

// How many of a word's first bytes are this one.
static __device__ inline int count_of(unsigned word, int bytes, unsigned byte) {
  int count = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) count += i < bytes && ((word >> (8 * i)) & 0xff) == byte;
  return count;
}

// `keys`: [lanes, 8] words, `out`: [lanes, count]. A byte below `first` is 1, one above it 0; where it is `first`, the
// upper 24 bits of a word decide, below `rest` 1. A block of THREADS for each lane.
extern "C" __global__ void coins(const unsigned *keys, float *out, Int64 count, Int64 first, Int64 rest) {
  SHARED unsigned words[WINDOW];
  // Bytes that leave it open in the window before each word, from that of its block of the stream on, and before each
  // block of the stream.
  SHARED short open_within[WINDOW];
  SHARED int open_before[THREADS];
  SHARED int next_open_before[THREADS];
  SHARED int starts[MOST_PIECES];
  SHARED int pieces;
  // The word of the stream at which the next piece begins, and how many are done.
  SHARED long long begin;
  SHARED long long done;
  const unsigned *key = keys + Int64(blockIdx.x) * 8;
  float *own = out + Int64(blockIdx.x) * count;
  const unsigned open = unsigned(first);
  const Int64 all = (count + PIECE - 1) / PIECE;
  FOR_THREADS(thread) {
    if (thread == 0) begin = 0, done = 0;
  }
  BARRIER();
  while (done < all) {
    const Int64 window = begin / WORDS_OF_BLOCK;
    FOR_THREADS(thread) {
      unsigned block[WORDS_OF_BLOCK];
      block_of_stream(key, (unsigned long long)(window + thread), block);
      int total = 0;
      for (int i = 0; i < WORDS_OF_BLOCK; ++i) {
        words[thread * WORDS_OF_BLOCK + i] = block[i];
        open_within[thread * WORDS_OF_BLOCK + i] = short(total);
        total += count_of(block[i], 4, open);
      }
      open_before[thread] = total;
    }
    BARRIER();
    // Sums of all threads up to each, then of those before it.
    for (int reach = 1; reach < THREADS; reach *= 2) {
      FOR_THREADS(thread) {
        next_open_before[thread] = open_before[thread] + (thread >= reach ? open_before[thread - reach] : 0);
      }
      BARRIER();
      FOR_THREADS(thread) { open_before[thread] = next_open_before[thread]; }
      BARRIER();
    }
    FOR_THREADS(thread) { next_open_before[thread] = thread ? open_before[thread - 1] : 0; }
    BARRIER();
    const auto open_until = [&](int word) {
      return next_open_before[word / WORDS_OF_BLOCK] + int(open_within[word]);
    };
    FOR_THREADS(thread) {
      if (thread == 0) {
        int at = int(begin - window * WORDS_OF_BLOCK), found = 0;
        while (done + found < all && at + MOST_OF_PIECE < WINDOW) {
          starts[found++] = at;
          at += WORDS_OF_PIECE + open_until(at + WORDS_OF_PIECE) - open_until(at);
        }
        pieces = found;
        begin = window * WORDS_OF_BLOCK + at;
      }
    }
    BARRIER();
    FOR_THREADS(thread) {
      for (int piece = 0; piece < pieces; ++piece) {
        const int start = starts[piece], at = start + thread;
        const unsigned word = words[at];
        const int before = open_until(at) - open_until(start);
        const Int64 place = (done + piece) * PIECE + thread * 4, left = count - place;
        // Those of the last piece follow as many words as its values take.
        const Int64 values = count - (done + piece) * PIECE;
        const int behind = values < PIECE ? int((values + 3) / 4) : WORDS_OF_PIECE;
        for (int i = 0; i < 4 && i < left; ++i) {
          const unsigned byte = (word >> (8 * i)) & 0xff;
          bool is_head = byte < open;
          if (byte == open) {
            const int decides = start + behind + before + count_of(word, i, open);
            is_head = Int64(words[decides] >> 8) < rest;
          }
          own[place + i] = is_head ? 1.0f : 0.0f;
        }
      }
    }
    BARRIER();
    FOR_THREADS(thread) {
      if (thread == 0) done += pieces;
    }
    BARRIER();
  }
}
