/* SHA-256 (FIPS 180-4) to 64 hexadecimal digits, with the processor's SHA instructions where it has them. */

#ifndef GENESIS_SHA256_H
#define GENESIS_SHA256_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_SHA_INSTRUCTIONS 1
#include <cpuid.h>
#include <immintrin.h>
#endif

enum { BLOCK = 64, WORDS = 8, DIGITS = 64 };

typedef void (*Compress)(uint32_t state[WORDS], const unsigned char *data, size_t blocks);

static const uint32_t START[WORDS] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* Section 4.2.2: the fractions of the cube roots of the first 64 primes. */
static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t
turned(uint32_t word, int bits)
{
    return (word >> bits) | (word << (32 - bits));
}

/* Section 6.2.2, in the words of the standard; for processors without the instructions below. */
static void
compress_portable(uint32_t state[WORDS], const unsigned char *data, size_t blocks)
{
    for (; blocks > 0; blocks--, data += BLOCK) {
        uint32_t w[64], v[WORDS];
        for (int t = 0; t < 16; t++) {
            w[t] = (uint32_t)data[4 * t] << 24 | (uint32_t)data[4 * t + 1] << 16 | (uint32_t)data[4 * t + 2] << 8 |
                   data[4 * t + 3];
        }
        for (int t = 16; t < 64; t++) {
            uint32_t s0 = turned(w[t - 15], 7) ^ turned(w[t - 15], 18) ^ (w[t - 15] >> 3);
            uint32_t s1 = turned(w[t - 2], 17) ^ turned(w[t - 2], 19) ^ (w[t - 2] >> 10);
            w[t] = w[t - 16] + s0 + w[t - 7] + s1;
        }
        memcpy(v, state, sizeof v);
        for (int t = 0; t < 64; t++) {
            uint32_t s1 = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
            uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
            uint32_t s0 = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
            uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
            uint32_t t1 = v[7] + s1 + choice + ROUND[t] + w[t];
            memmove(v + 1, v, 7 * sizeof v[0]);
            v[4] += t1;
            v[0] = t1 + s0 + majority;
        }
        for (int i = 0; i < WORDS; i++) {
            state[i] += v[i];
        }
    }
}

#ifdef HAVE_SHA_INSTRUCTIONS
/* The same with the processor's SHA instructions: two rounds each, on the state split as (a b e f) and (c d g h). */
__attribute__((target("sha,sse4.1,ssse3"))) static void
compress_instructions(uint32_t state[WORDS], const unsigned char *data, size_t blocks)
{
    const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
    uint32_t first[4], second[4];

    for (; blocks > 0; blocks--, data += BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), big_endian);
        }
#pragma GCC unroll 16
        for (int four = 0; four < 16; four++) {
            __m128i now = w[four & 3], after = w[(four + 1) & 3], last = w[(four + 3) & 3];
            __m128i sum = _mm_add_epi32(now, _mm_loadu_si128((const __m128i *)(ROUND + 4 * four)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
            if (four < 12) { /* the schedule, four words ahead of their use */
                __m128i seven_back = _mm_alignr_epi8(last, w[(four + 2) & 3], 4);
                w[four & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(now, after), seven_back), last);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    _mm_storeu_si128((__m128i *)first, abef);
    _mm_storeu_si128((__m128i *)second, cdgh);
    state[0] = first[3], state[1] = first[2], state[4] = first[1], state[5] = first[0];
    state[2] = second[3], state[3] = second[2], state[6] = second[1], state[7] = second[0];
}

static int
has_sha_instructions(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) {
        return 0;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}
#endif

static Compress compress_here = compress_portable; /* chosen once, when the module is loaded */

/* Eight digits, the first in the highest byte. */
static inline uint64_t
hex_digits(uint32_t word)
{
    uint64_t each = word; /* a nibble a byte */
    each = (each | each << 16) & UINT64_C(0x0000FFFF0000FFFF);
    each = (each | each << 8) & UINT64_C(0x00FF00FF00FF00FF);
    each = (each | each << 4) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    const uint64_t letters = ((each + UINT64_C(0x0606060606060606)) >> 4) & UINT64_C(0x0101010101010101);
    return each + UINT64_C(0x3030303030303030) + letters * ('a' - '9' - 1);
}

/* A new str of 64 hexadecimal digits. */
static PyObject *
hex_of_sha256(Compress compress, const char *bytes, Py_ssize_t length)
{
    uint32_t state[WORDS];
    unsigned char tail[2 * BLOCK] = {0};
    const size_t whole = (size_t)length / BLOCK, rest = (size_t)length % BLOCK;
    const size_t tail_blocks = rest + 9 > BLOCK ? 2 : 1;
    const uint64_t bits = (uint64_t)length * 8;

    memcpy(state, START, sizeof state);
    compress(state, (const unsigned char *)bytes, whole);
    memcpy(tail, bytes + whole * BLOCK, rest);
    tail[rest] = 0x80;
    for (int i = 0; i < 8; i++) {
        tail[tail_blocks * BLOCK - 1 - i] = (unsigned char)(bits >> (8 * i));
    }
    compress(state, tail, tail_blocks);

    PyObject *text = PyUnicode_New(DIGITS, 127);
    if (text != NULL) {
        Py_UCS1 *out = PyUnicode_1BYTE_DATA(text);
        for (int i = 0; i < WORDS; i++) {
            const uint64_t digits = hex_digits(state[i]);
            for (int j = 0; j < 8; j++) {
                out[8 * i + j] = (Py_UCS1)(digits >> (56 - 8 * j));
            }
        }
    }
    return text;
}

#endif
