// CRC-32C (Castagnoli; iSCSI, RFC 3720): polynomial 0x1EDC6F41, reflected 0x82F63B78, initial value and final xor ~0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holt {

// The CRC of `length` bytes that follow bytes whose CRC is `seed`; 0 is the CRC of no bytes.
uint32_t Crc32c(const uint8_t* data, size_t length, uint32_t seed);

// The same through tables, without instructions of the processor; for tests and as the fallback.
uint32_t Crc32cSoftware(const uint8_t* data, size_t length, uint32_t seed);

}  // namespace holt
