// SPDX-License-Identifier: GPL-2.0-or-later
/* Integer arithmetic: long straight lines and counted loops, few unforeseeable branches. */
#include <string.h>

#include "suite.h"

static u32 rotate(u32 x, int by)
{
	return x >> by | x << (32 - by);
}

/* Rounds of the shape of SHA-256 over a message that each block changes. */
static u64 run_rounds(u64 n)
{
	u32 state[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, w[64];

	for (u64 block = 0; block < n; block++) {
		u32 s[8];

		for (int i = 0; i < 16; i++)
			w[i] = state[i & 7] * (i + 1) ^ (u32)block;
		for (int i = 16; i < 64; i++) {
			u32 a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
			u32 b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;

			w[i] = w[i - 16] + a + w[i - 7] + b;
		}
		memcpy(s, state, sizeof(s));
		for (int i = 0; i < 64; i++) {
			u32 choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
			u32 majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
			u32 t1 = s[7] + choice + w[i] + 0x428a2f98u * (i + 1) +
				 (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25));
			u32 t2 = majority + (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22));

			memmove(s + 1, s, 7 * sizeof(*s));
			s[4] += t1;
			s[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++)
			state[i] += s[i];
	}
	return mix_bytes(0, state, sizeof(state));
}

#define SIEVE 1000000

static u64 run_sieve(u64 n)
{
	static u8 composite[SIEVE];
	u64 found = 0;

	for (u64 pass = 0; pass < n; pass++) {
		memset(composite, 0, sizeof(composite));
		for (u32 i = 2; i < SIEVE; i++) {
			if (composite[i])
				continue;
			found++;
			for (u64 j = (u64)i * i; j < SIEVE; j += i)
				composite[j] = 1;
		}
	}
	return found;
}

#define SIDE 96

static u64 run_matrix(u64 n)
{
	static u32 a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
	u64 seed = 7;

	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			a[i][j] = random_next(&seed);
			b[i][j] = random_next(&seed);
		}
	for (u64 pass = 0; pass < n; pass++) {
		for (int i = 0; i < SIDE; i++)
			for (int j = 0; j < SIDE; j++) {
				u32 sum = 0;

				for (int k = 0; k < SIDE; k++)
					sum += a[i][k] * b[k][j];
				c[i][j] = sum;
			}
		a[pass % SIDE][pass / SIDE % SIDE] ^= c[1][2];
	}
	return mix_bytes(0, c, sizeof(c));
}

/* Modular powers: 128-bit products divided by 64-bit moduli; remainders of 64-bit numbers. */
static u64 run_divide(u64 n)
{
	u64 hash = 0, seed = 11;

	for (u64 i = 0; i < n; i++) {
		u64 modulus = random_next(&seed) | 1, base = random_next(&seed) % modulus;
		u64 power = 1, exponent = i + 0x10001;

		for (; exponent; exponent >>= 1) {
			if (exponent & 1)
				power = (unsigned __int128)power * base % modulus;
			base = (unsigned __int128)base * base % modulus;
		}
		hash = mix(hash, power);
		hash = mix(hash, modulus / (i + 3) + (u32)modulus % (u32)(i + 7));
	}
	return hash;
}

__attribute__((target("popcnt"))) static u64 run_bits(u64 n)
{
	u64 seed = 5, hash = 0;

	for (u64 i = 0; i < n; i++) {
		u64 x = random_next(&seed), reversed = 0;

		hash += __builtin_popcountll(x) + __builtin_clzll(x) * 3 + __builtin_ctzll(x) * 7;
		for (u64 left = x & 0xffff; left; left &= left - 1)
			reversed |= 1ull << (63 - __builtin_ctzll(left));
		hash = (hash << 9 | hash >> 55) ^ reversed ^ __builtin_bswap64(x);
	}
	return hash;
}

static u32 crc_table[256];
static u8 crc_data[65536];

static void setup_crc(u64 n)
{
	u64 seed = 3;

	for (u32 i = 0; i < 256; i++) {
		crc_table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0xedb88320u : 0);
	}
	for (size_t i = 0; i < sizeof(crc_data); i++)
		crc_data[i] = random_next(&seed);
}

static u64 run_crc(u64 n)
{
	u32 crc = ~0u;

	while (n--)
		for (size_t i = 0; i < sizeof(crc_data); i++)
			crc = crc >> 8 ^ crc_table[(crc ^ crc_data[i]) & 0xff];
	return crc;
}

const struct row integer_rows[] = {
	{ "rounds", "integer", run_rounds, 200000 },
	{ "sieve", "integer", run_sieve, 60 },
	{ "matrix", "integer", run_matrix, 400 },
	{ "divide", "integer", run_divide, 800000 },
	{ "bits", "integer", run_bits, 10000000 },
	{ "crc", "integer", run_crc, 1000, setup_crc },
	{},
};
