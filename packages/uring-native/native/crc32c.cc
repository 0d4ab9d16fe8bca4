#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace holt {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;

using Table = std::array<uint32_t, 256>;

// ---- software: eight bytes a step through eight tables ("slicing by 8", Kounavis and Berry 2005) -----------------

// tables[k][b] is the CRC register after byte b and k zero bytes.
constexpr std::array<Table, 8> MakeSlicingTables() {
  std::array<Table, 8> tables{};
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >> 1) ^ kPolynomial : crc >> 1;
    tables[0][b] = crc;
  }
  for (uint32_t b = 0; b < 256; b++) {
    for (size_t k = 1; k < 8; k++) {
      const uint32_t before = tables[k - 1][b];
      tables[k][b] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr std::array<Table, 8> kSlicing = MakeSlicingTables();

uint32_t UpdateSoftware(uint32_t crc, const uint8_t* data, size_t length) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  for (; length >= 8; data += 8, length -= 8) {
    uint32_t low;
    uint32_t high;
    std::memcpy(&low, data, 4);
    std::memcpy(&high, data + 4, 4);
    low ^= crc;
    crc = kSlicing[7][low & 0xff] ^ kSlicing[6][(low >> 8) & 0xff] ^ kSlicing[5][(low >> 16) & 0xff] ^
          kSlicing[4][low >> 24] ^ kSlicing[3][high & 0xff] ^ kSlicing[2][(high >> 8) & 0xff] ^
          kSlicing[1][(high >> 16) & 0xff] ^ kSlicing[0][high >> 24];
  }
#endif
  for (; length > 0; data++, length--) crc = (crc >> 8) ^ kSlicing[0][(crc ^ *data) & 0xff];
  return crc;
}

#if defined(__x86_64__)

// ---- SSE4.2: three streams, since the instruction takes three cycles and one can start in each -------------------
//
//   | stream a: kBlock bytes | stream b: kBlock bytes | stream c: kBlock bytes |
//
// The register is linear over GF(2): the CRC of a||b is the CRC of b xor the register of a moved over |b| zero bytes.
// That move is a fixed linear map for a fixed kBlock, and so four table look-ups, one for each byte of the register.

constexpr size_t kLongBlock = 8192;
constexpr size_t kShortBlock = 256;

// The product of two polynomials modulo the CRC's, both reflected (bit 31 is x^0).
constexpr uint32_t MultiplyModulo(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
  }
  return product;
}

// x^(8 * bytes) modulo the CRC's polynomial, by repeated squaring.
constexpr uint32_t PowerOfByteShift(size_t bytes) {
  uint32_t result = 0x80000000u;  // x^0
  uint32_t square = 0x00800000u;  // x^8
  for (; bytes != 0; bytes >>= 1) {
    if ((bytes & 1) != 0) result = MultiplyModulo(result, square);
    square = MultiplyModulo(square, square);
  }
  return result;
}

constexpr std::array<Table, 4> MakeShiftTables(size_t bytes) {
  std::array<Table, 4> tables{};
  const uint32_t power = PowerOfByteShift(bytes);
  for (size_t k = 0; k < 4; k++) {
    // Linear: the table follows from the images of its eight single bits.
    for (uint32_t bit = 0; bit < 8; bit++) {
      const uint32_t image = MultiplyModulo(power, (1u << bit) << (8 * k));
      for (uint32_t b = 0; b < (1u << bit); b++) tables[k][(1u << bit) | b] = image ^ tables[k][b];
    }
  }
  return tables;
}

constexpr std::array<Table, 4> kLongShift = MakeShiftTables(kLongBlock);
constexpr std::array<Table, 4> kShortShift = MakeShiftTables(kShortBlock);

inline uint32_t Shift(const std::array<Table, 4>& tables, uint32_t crc) {
  return tables[0][crc & 0xff] ^ tables[1][(crc >> 8) & 0xff] ^ tables[2][(crc >> 16) & 0xff] ^ tables[3][crc >> 24];
}

inline uint64_t Load64(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, 8);
  return word;
}

template <size_t kBlock>
__attribute__((target("sse4.2"))) inline uint32_t UpdateThreeStreams(const std::array<Table, 4>& shift, uint32_t crc,
                                                                     const uint8_t*& data, size_t& length) {
  while (length >= 3 * kBlock) {
    uint64_t a = crc;
    uint64_t b = 0;
    uint64_t c = 0;
    for (const uint8_t* end = data + kBlock; data < end; data += 8) {
      a = _mm_crc32_u64(a, Load64(data));
      b = _mm_crc32_u64(b, Load64(data + kBlock));
      c = _mm_crc32_u64(c, Load64(data + 2 * kBlock));
    }
    crc = Shift(shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
    crc = Shift(shift, crc) ^ static_cast<uint32_t>(c);
    data += 2 * kBlock;
    length -= 3 * kBlock;
  }
  return crc;
}

__attribute__((target("sse4.2"))) uint32_t UpdateSse42(uint32_t crc, const uint8_t* data, size_t length) {
  crc = UpdateThreeStreams<kLongBlock>(kLongShift, crc, data, length);
  crc = UpdateThreeStreams<kShortBlock>(kShortShift, crc, data, length);
  uint64_t wide = crc;
  for (; length >= 8; data += 8, length -= 8) wide = _mm_crc32_u64(wide, Load64(data));
  crc = static_cast<uint32_t>(wide);
  for (; length > 0; data++, length--) crc = _mm_crc32_u8(crc, *data);
  return crc;
}

#elif defined(__aarch64__) && defined(__linux__)

__attribute__((target("+crc"))) uint32_t UpdateArm(uint32_t crc, const uint8_t* data, size_t length) {
  for (; length >= 8; data += 8, length -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    crc = __crc32cd(crc, word);
  }
  for (; length > 0; data++, length--) crc = __crc32cb(crc, *data);
  return crc;
}

#endif

}  // namespace

uint32_t Crc32c(const uint8_t* data, size_t length, uint32_t seed) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~UpdateSse42(~seed, data, length);
#elif defined(__aarch64__) && defined(__linux__)
  if ((getauxval(AT_HWCAP) & HWCAP_CRC32) != 0) return ~UpdateArm(~seed, data, length);
#endif
  return ~UpdateSoftware(~seed, data, length);
}

uint32_t Crc32cSoftware(const uint8_t* data, size_t length, uint32_t seed) {
  return ~UpdateSoftware(~seed, data, length);
}

}  // namespace holt
