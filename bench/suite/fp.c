// SPDX-License-Identifier: GPL-2.0-or-later
/* Scalar floating point in double (SSE2) and in long double (x87). Sums are compared bit by bit. */
#include <math.h>
#include <string.h>

#include "suite.h"

static u64 bits(double x)
{
	u64 raw;

	memcpy(&raw, &x, sizeof(raw));
	return raw;
}

struct body {
	double x[3], v[3], mass;
};

static u64 run_nbody(u64 n)
{
	struct body all[5];
	u64 seed = 59, hash = 0;

	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 3; k++) {
			all[i].x[k] = (double)(random_next(&seed) >> 40) / (1 << 22) - 2;
			all[i].v[k] = (double)(random_next(&seed) >> 40) / (1 << 24) - 0.5;
		}
		all[i].mass = 1.0 + i;
	}
	while (n--) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], square = 0.01, pull;

				for (int k = 0; k < 3; k++) {
					d[k] = all[i].x[k] - all[j].x[k];
					square += d[k] * d[k];
				}
				pull = 0.001 / (square * __builtin_sqrt(square));
				for (int k = 0; k < 3; k++) {
					all[i].v[k] -= d[k] * all[j].mass * pull;
					all[j].v[k] += d[k] * all[i].mass * pull;
				}
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				all[i].x[k] += 0.001 * all[i].v[k];
	}
	for (int i = 0; i < 5; i++)
		hash = mix(hash, bits(all[i].x[0]) ^ bits(all[i].v[2]));
	return hash;
}

static u64 run_mandelbrot(u64 n)
{
	u64 inside = 0;

	for (u64 row = 0; row < n; row++)
		for (u64 column = 0; column < n; column++) {
			double cr = 3.0 * column / n - 2, ci = 2.0 * row / n - 1, r = 0, i = 0;
			int step;

			for (step = 0; step < 100 && r * r + i * i < 4; step++) {
				double next = r * r - i * i + cr;

				i = 2 * r * i + ci;
				r = next;
			}
			inside += step;
		}
	return inside;
}

#define SPECTRUM 300

static void spectral_times(const double *in, double *out, int transposed)
{
	for (int i = 0; i < SPECTRUM; i++) {
		double sum = 0;

		for (int j = 0; j < SPECTRUM; j++) {
			int line = transposed ? j : i;

			sum += in[j] / ((i + j) * (i + j + 1) / 2 + line + 1);
		}
		out[i] = sum;
	}
}

static u64 run_spectral(u64 n)
{
	double u[SPECTRUM], v[SPECTRUM], t[SPECTRUM], top = 0, bottom = 0;

	for (int i = 0; i < SPECTRUM; i++)
		u[i] = 1;
	while (n--) {
		spectral_times(u, t, 0);
		spectral_times(t, v, 1);
		spectral_times(v, t, 0);
		spectral_times(t, u, 1);
	}
	for (int i = 0; i < SPECTRUM; i++) {
		top += u[i] * v[i];
		bottom += v[i] * v[i];
	}
	return bits(top / bottom);
}

/* A series and a Horner scheme in extended precision. */
static u64 run_x87(u64 n)
{
	long double sum = 0, x = 0.1L;
	u8 raw[16] = { 0 };

	for (u64 i = 1; i <= n; i++) {
		long double term = (((x * 0.25L + 1.5L) * x - 2) * x + 0.125L) / (long double)i;

		sum += term;
		x = x * 0.999L + (i & 1 ? 0.001L : -0.0005L);
	}
	memcpy(raw, &sum, 10);
	return mix_bytes(0, raw, sizeof(raw));
}

const struct row fp_rows[] = {
	{ "nbody", "fp", run_nbody, 1500000 },
	{ "mandelbrot", "fp", run_mandelbrot, 1300 },
	{ "spectral", "fp", run_spectral, 250 },
	{ "x87", "x87", run_x87, 20000000 },
	{},
};
