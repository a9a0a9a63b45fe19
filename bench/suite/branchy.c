// SPDX-License-Identifier: GPL-2.0-or-later
/* Code whose branches depend on data: sorting, parsing, searching, a cellular automaton. */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define NUMBERS 100000

static void quicksort(u32 *a, long low, long high)
{
	while (low < high) {
		u32 pivot = a[low + (high - low) / 2];
		long i = low, j = high;

		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				u32 t = a[i];

				a[i++] = a[j];
				a[j--] = t;
			}
		}
		if (j - low < high - i) {
			quicksort(a, low, j);
			low = i;
		} else {
			quicksort(a, i, high);
			high = j;
		}
	}
}

static u64 run_quicksort(u64 n)
{
	static u32 numbers[NUMBERS];
	u64 seed = 17, hash = 0;

	while (n--) {
		for (int i = 0; i < NUMBERS; i++)
			numbers[i] = random_next(&seed);
		quicksort(numbers, 0, NUMBERS - 1);
		for (int i = 1; i < NUMBERS; i++)
			if (numbers[i - 1] > numbers[i])
				return 0;
		hash = mix(hash, numbers[NUMBERS / 3]);
	}
	return hash;
}

/* Arithmetic expressions: written by a grammar, read by recursive descent. */
static char expression[1 << 16];
static size_t expression_size;

static void write_expression(u64 *seed, int depth)
{
	u64 kind = random_next(seed) >> 20;

	if (!depth || kind % 5 == 0) {
		u32 number = kind / 5 % 100000;
		char digits[12];
		int count = 0;

		do
			digits[count++] = '0' + number % 10;
		while (number /= 10);
		while (count)
			expression[expression_size++] = digits[--count];
	} else {
		expression[expression_size++] = '(';
		write_expression(seed, depth - 1);
		expression[expression_size++] = ' ';
		expression[expression_size++] = "+-*&|"[kind % 5];
		expression[expression_size++] = ' ';
		write_expression(seed, depth - 1);
		expression[expression_size++] = ')';
	}
}

static void setup_parser(u64 n)
{
	u64 seed = 23;

	expression_size = 0;
	while (expression_size < sizeof(expression) / 2) {
		write_expression(&seed, 9);
		expression[expression_size++] = '\n';
	}
	expression[expression_size] = 0;
}

static u64 parse(const char **text)
{
	const char *p = *text;
	u64 value = 0;

	while (*p == ' ')
		p++;
	if (*p == '(') {
		u64 right;
		char op;

		p++;
		value = parse(&p);
		while (*p == ' ')
			p++;
		op = *p++;
		right = parse(&p);
		switch (op) {
		case '+': value += right; break;
		case '-': value -= right; break;
		case '*': value *= right; break;
		case '&': value &= right; break;
		case '|': value |= right; break;
		}
		if (*p++ != ')')
			abort();
	} else {
		while (*p >= '0' && *p <= '9')
			value = value * 10 + (*p++ - '0');
	}
	*text = p;
	return value;
}

static u64 run_parser(u64 n)
{
	u64 hash = 0;

	while (n--)
		for (const char *p = expression; *p; p++)
			hash = mix(hash, parse(&p));
	return hash;
}

#define SORTED 65536

static u64 run_search(u64 n)
{
	static u32 sorted[SORTED];
	u64 seed = 29, hash = 0;

	for (u32 i = 0; i < SORTED; i++)
		sorted[i] = i * 65521u;
	for (u64 i = 0; i < n; i++) {
		u32 wanted = random_next(&seed) >> 30;
		int low = 0, high = SORTED - 1;

		while (low <= high) {
			int middle = (low + high) / 2;

			if (sorted[middle] == wanted)
				break;
			if (sorted[middle] < wanted)
				low = middle + 1;
			else
				high = middle - 1;
		}
		hash += low ^ i;
	}
	return hash;
}

#define WORLD 256

static u64 run_life(u64 n)
{
	static u8 world[2][WORLD + 2][WORLD + 2];
	u64 seed = 31;

	memset(world, 0, sizeof(world));
	for (int y = 1; y <= WORLD; y++)
		for (int x = 1; x <= WORLD; x++)
			world[0][y][x] = random_next(&seed) >> 40 & 1;
	for (u64 turn = 0; turn < n; turn++) {
		u8(*from)[WORLD + 2] = world[turn & 1], (*to)[WORLD + 2] = world[~turn & 1];

		for (int y = 1; y <= WORLD; y++)
			for (int x = 1; x <= WORLD; x++) {
				int near = 0;

				for (int dy = -1; dy <= 1; dy++)
					for (int dx = -1; dx <= 1; dx++)
						if ((dx || dy) && from[y + dy][x + dx])
							near++;
				if (from[y][x])
					to[y][x] = near == 2 || near == 3;
				else
					to[y][x] = near == 3;
			}
	}
	return mix_bytes(0, world[n & 1], sizeof(world[0]));
}

const struct row branchy_rows[] = {
	{ "quicksort", "branchy", run_quicksort, 14 },
	{ "parser", "branchy", run_parser, 4000, setup_parser },
	{ "search", "branchy", run_search, 1200000 },
	{ "life", "branchy", run_life, 200 },
	{},
};
