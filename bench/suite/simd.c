// SPDX-License-Identifier: GPL-2.0-or-later
/* Vector code as libraries have it: SSE floats, AVX2 floats and integers, AES rounds. The arrays
 * stay in the second-level cache: memory streams are rows of their own. */
#include <immintrin.h>
#include <string.h>

#include "suite.h"

#define FLOATS 16384

static float xs[FLOATS] __attribute__((aligned(64))), ys[FLOATS] __attribute__((aligned(64)));

static void setup_floats(u64 n)
{
	u64 seed = 61;

	for (int i = 0; i < FLOATS; i++) {
		xs[i] = (float)(random_next(&seed) >> 50) / 1024;
		ys[i] = (float)(random_next(&seed) >> 50) / 4096;
	}
}

static u64 run_saxpy(u64 n)
{
	for (u64 pass = 0; pass < n; pass++) {
		__m128 a = _mm_set1_ps(pass & 1 ? 0.5f : -0.25f);

		for (int i = 0; i < FLOATS; i += 4)
			_mm_store_ps(ys + i, _mm_add_ps(_mm_mul_ps(a, _mm_load_ps(xs + i)),
							_mm_load_ps(ys + i)));
	}
	return mix_bytes(0, ys, sizeof(ys));
}

static u64 run_dot(u64 n)
{
	u64 hash = 0;

	while (n--) {
		__m128 sum = _mm_setzero_ps();
		float parts[4];

		for (int i = 0; i < FLOATS; i += 4)
			sum = _mm_add_ps(sum, _mm_mul_ps(_mm_load_ps(xs + i), _mm_load_ps(ys + i)));
		_mm_storeu_ps(parts, sum);
		hash = mix_bytes(hash, parts, sizeof(parts));
		xs[n % FLOATS] += 0.5f;
	}
	return hash;
}

static int have_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

__attribute__((target("avx2"))) static u64 run_avx2_float(u64 n)
{
	for (u64 pass = 0; pass < n; pass++) {
		__m256 a = _mm256_set1_ps(pass & 1 ? 0.5f : -0.25f);

		for (int i = 0; i < FLOATS; i += 8) {
			__m256 x = _mm256_load_ps(xs + i), y = _mm256_load_ps(ys + i);

			y = _mm256_add_ps(_mm256_mul_ps(a, x), y);
			_mm256_store_ps(ys + i, _mm256_max_ps(y, _mm256_sub_ps(x, y)));
		}
	}
	return mix_bytes(0, ys, sizeof(ys));
}

/* Counts the bytes of a class in a buffer, as text scanners do, and sums absolute differences. */
__attribute__((target("avx2"))) static u64 run_avx2_bytes(u64 n)
{
	const __m256i *x = (const __m256i *)xs;
	u64 found = 0, parts[4];
	__m256i total = _mm256_setzero_si256();

	for (u64 pass = 0; pass < n; pass++) {
		__m256i low = _mm256_set1_epi8((char)(pass & 0x3f));

		for (size_t i = 0; i < FLOATS / 8; i++) {
			__m256i v = _mm256_load_si256(x + i);
			__m256i in = _mm256_cmpgt_epi8(v, low);

			found += (u32)_mm256_movemask_epi8(in) & 0xf;
			total = _mm256_add_epi64(total, _mm256_sad_epu8(v, low));
		}
	}
	_mm256_storeu_si256((__m256i *)parts, total);
	return mix_bytes(found, parts, sizeof(parts));
}

static int have_aes(void)
{
	return __builtin_cpu_supports("aes");
}

__attribute__((target("aes"))) static u64 run_aes(u64 n)
{
	__m128i block = _mm_set_epi32(1, 2, 3, 4), key[10];
	u64 parts[2];

	for (int i = 0; i < 10; i++)
		key[i] = _mm_set_epi32(i, 77 * i, 5, 0x1234567 * (i + 1));
	while (n--) {
		block = _mm_xor_si128(block, key[0]);
		for (int i = 1; i < 9; i++)
			block = _mm_aesenc_si128(block, key[i]);
		block = _mm_aesenclast_si128(block, key[9]);
		TOUCH();
	}
	_mm_storeu_si128((__m128i *)parts, block);
	return mix_bytes(0, parts, sizeof(parts));
}

const struct row simd_rows[] = {
	{ "saxpy", "simd", run_saxpy, 20000, setup_floats },
	{ "dot", "simd", run_dot, 20000, setup_floats },
	{ "avx2-float", "simd", run_avx2_float, 30000, setup_floats, have_avx2 },
	{ "avx2-bytes", "simd", run_avx2_bytes, 30000, setup_floats, have_avx2 },
	{ "aes", "simd", run_aes, 8000000, NULL, have_aes },
	{},
};
