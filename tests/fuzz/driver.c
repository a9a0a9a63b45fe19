/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a fuzz target where libFuzzer is not: mutates a corpus, keeps what reaches new code.
 *
 *   fuzz-NAME --runs N [--seed S] [--crash FILE]   N inputs, always the same ones
 *   fuzz-NAME FILE...                              runs these inputs, as after a crash
 *
 * The compiler calls __sanitizer_cov_trace_pc() at every edge of the code under test; pairs of
 * edges are counted in a map, and an input that brings a pair or an order of magnitude of its
 * count that no input brought before joins the corpus. Only the driving thread counts: others run
 * at times of their own. Addresses are taken relative to the program, so that its random load
 * address changes nothing.
 *
 * When a target fails, the input is written to FILE before the process dies. One that runs longer
 * than a minute is reported like a crash.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAP_ENTRIES   65536
#define CORPUS_MAX    8192
#define HEADERS       4096 /* files say most in their first bytes */
#define SECONDS_MAX   60
#define MUTATIONS_MAX 8

struct driver {
	u64 random;
	GPtrArray *corpus; /* GByteArray * */
	u8 seen[MAP_ENTRIES];
	unsigned edges;
	const char *crash;
	const GByteArray *current;
};

static struct driver driver;

/* --- coverage --- */

static u8 map[MAP_ENTRIES];
static __thread bool counting;
static u64 previous;

extern const char __executable_start[];
void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void)
{
	u64 edge;

	if (!counting)
		return;
	edge = (char *)__builtin_return_address(0) - __executable_start;
	edge *= 0x9e3779b97f4a7c15ull;
	edge >>= 48;
	if (map[edge ^ previous] < UINT8_MAX)
		map[edge ^ previous]++;
	previous = edge >> 1;
}

/* A count's order of magnitude, as one bit. */
static u8 magnitude(u8 count)
{
	return count < 4 ? count ? 1 << (count - 1) : 0
			 : 1 << MIN(3 + (unsigned)(31 - __builtin_clz(count / 4)), 7);
}

static bool found_something(struct driver *d)
{
	bool found = false;

	for (unsigned i = 0; i < MAP_ENTRIES; i++) {
		u8 bit = magnitude(map[i]);

		if (!(bit & ~d->seen[i]))
			continue;
		d->edges += !d->seen[i];
		d->seen[i] |= bit;
		found = true;
	}
	return found;
}

/* --- failing --- */

/* Called while the process dies: system calls only. */
static void save_input(void)
{
	static const char said[] = "fuzz: the input is in ";
	const GByteArray *input = driver.current;
	int fd;

	if (!input || !driver.crash)
		return;
	fd = open(driver.crash, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, input->data, input->len) != (ssize_t)input->len)
		return;
	close(fd);
	if (write(2, said, sizeof(said) - 1) < 0 ||
	    write(2, driver.crash, strlen(driver.crash)) < 0 || write(2, "\n", 1) < 0)
		return;
}

static void on_signal(int number)
{
	save_input();
	signal(number == SIGALRM ? SIGABRT : number, SIG_DFL);
	raise(number == SIGALRM ? SIGABRT : number);
}

const char *__ubsan_default_options(void);

/* So that its findings end in on_signal() as well. */
const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_death(void)
{
	signal(SIGALRM, on_signal);
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(save_input);
		signal(SIGABRT, on_signal);
		return;
	}
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGILL, on_signal);
	signal(SIGFPE, on_signal);
}

static void run(struct driver *d, const GByteArray *input)
{
	/* A block of exactly its size: reading past it is seen. */
	u8 *copy = g_memdup2(input->data, input->len);

	d->current = input;
	memset(map, 0, sizeof(map));
	previous = 0;
	alarm(SECONDS_MAX);
	counting = true;
	LLVMFuzzerTestOneInput(copy ?: (const u8 *)"", input->len);
	counting = false;
	alarm(0);
	d->current = NULL;
	g_free(copy);
}

/* --- mutation --- */

static u64 next_random(struct driver *d)
{
	u64 x = d->random += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static size_t below(struct driver *d, size_t limit)
{
	return limit ? next_random(d) % limit : 0;
}

/* Mostly short, rarely as long as can be. */
static size_t some_length(struct driver *d, size_t limit)
{
	return 1 + below(d, below(d, 4) ? MIN(limit, 16) : limit);
}

static void insert(GByteArray *to, size_t at, const u8 *data, size_t bytes)
{
	size_t old = to->len;
	u8 *copy; /* @data may be part of @to */

	if (!bytes || old + bytes > fuzz_bytes_max)
		return;
	copy = g_memdup2(data, bytes);
	g_byte_array_set_size(to, old + bytes);
	memmove(to->data + at + bytes, to->data + at, old - at);
	memcpy(to->data + at, copy, bytes);
	g_free(copy);
}

static void change_bits(struct driver *d, GByteArray *input)
{
	if (input->len)
		input->data[below(d, input->len)] ^= 1 << below(d, 8);
}

static void change_number(struct driver *d, GByteArray *input)
{
	static const u64 edges[] = { 0,          1,          64,        0x7f,       0x80,
				     0xff,       0x100,      0xfff,     0x1000,     0x7fff,
				     0x8000,     0xffff,     0x10000,   0x100000,   0x7fffffff,
				     0x80000000, UINT32_MAX, INT64_MAX, UINT64_MAX, BIT(63) };
	unsigned bytes = 1 << below(d, 4);
	u64 value = 0;
	size_t at;

	if (input->len < bytes)
		return;
	at = below(d, input->len - bytes + 1);
	if (below(d, 2) && at > HEADERS)
		at %= HEADERS;
	memcpy(&value, input->data + at, bytes);
	switch (below(d, 4)) {
	case 0: value = edges[below(d, ARRAY_LEN(edges))]; break;
	case 1: value += below(d, 33) - 16; break;
	case 2: value = next_random(d); break;
	case 3: value = __builtin_bswap64(value) >> (64 - 8 * bytes); break;
	}
	memcpy(input->data + at, &value, bytes);
}

/* The line around @at, its newline included. */
static void find_line(const GByteArray *text, size_t at, size_t *start, size_t *end)
{
	for (*start = at; *start && text->data[*start - 1] != '\n'; --*start)
		;
	for (*end = at; *end < text->len && text->data[*end] != '\n'; ++*end)
		;
	*end += *end < text->len;
}

/* For text: a line goes, or one of another input comes, or both. */
static void change_line(struct driver *d, GByteArray *input, const GByteArray *other)
{
	size_t start, end, from, to, what = below(d, 3);

	find_line(input, below(d, input->len), &start, &end);
	if (what != 0 && end > start)
		g_byte_array_remove_range(input, start, end - start);
	if (what == 1)
		return;
	find_line(other, below(d, other->len), &from, &to);
	insert(input, start, other->data + from, to - from);
}

static bool in_word(u8 c)
{
	return g_ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == ':' || c == '/';
}

/* The word at or behind @at; empty when there is none. */
static void find_word(const GByteArray *text, size_t at, size_t *start, size_t *end)
{
	while (at < text->len && !in_word(text->data[at]))
		at++;
	for (*start = at; *start && in_word(text->data[*start - 1]); --*start)
		;
	for (*end = at; *end < text->len && in_word(text->data[*end]); ++*end)
		;
}

/* For text: a word becomes one of another input, or a number. */
static void change_word(struct driver *d, GByteArray *input, const GByteArray *other)
{
	static const char *const numbers[] = { "0",
					       "1",
					       "-1",
					       "255",
					       "256",
					       "32",
					       "31",
					       "65536",
					       "2147483648",
					       "4294967295",
					       "0x1",
					       "0xff",
					       "99999999",
					       "9223372036854775807",
					       "18446744073709551616",
					       "" };
	size_t start, end, from, to;

	find_word(input, below(d, input->len), &start, &end);
	if (end > start)
		g_byte_array_remove_range(input, start, end - start);
	if (!below(d, 3)) {
		const char *number = numbers[below(d, ARRAY_LEN(numbers))];

		insert(input, start, (const u8 *)number, strlen(number));
		return;
	}
	find_word(other, below(d, other->len), &from, &to);
	insert(input, start, other->data + from, to - from);
}

static void remove_block(struct driver *d, GByteArray *input)
{
	size_t at = below(d, input->len), n = some_length(d, input->len);

	if (input->len)
		g_byte_array_remove_range(input, at, MIN(n, input->len - at));
}

/* A piece of @from, which may be @input itself, comes in. */
static void copy_block(struct driver *d, GByteArray *input, const GByteArray *from)
{
	size_t at = below(d, from->len), n = some_length(d, from->len);

	if (from->len)
		insert(input, below(d, input->len + 1), from->data + at, MIN(n, from->len - at));
}

static GByteArray *pick(struct driver *d)
{
	size_t n = d->corpus->len, recent = MIN(n, 64);

	return d->corpus->pdata[below(d, 2) ? below(d, n) : n - 1 - below(d, recent)];
}

static void mutate(struct driver *d, GByteArray *input)
{
	for (size_t n = 1 + below(d, MUTATIONS_MAX); n; n--) {
		const GByteArray *other = pick(d);
		bool as_text = fuzz_text && below(d, 8); /* else it would be noise, mostly */

		switch (as_text ? 6 + below(d, 2) : below(d, 6)) {
		case 0: change_bits(d, input); break;
		case 1:
		case 2: change_number(d, input); break;
		case 3: remove_block(d, input); break;
		case 4: copy_block(d, input, input); break;
		case 5: copy_block(d, input, other); break;
		case 6: change_line(d, input, other); break;
		case 7: change_word(d, input, other); break;
		}
	}
}

/* --- the run --- */

static void plant_seeds(struct driver *d)
{
	for (unsigned i = 0;; i++) {
		GByteArray *seed = g_byte_array_new();

		if (!fuzz_seed(i, seed)) {
			g_byte_array_unref(seed);
			break;
		}
		g_ptr_array_add(d->corpus, seed);
		run(d, seed);
		found_something(d);
	}
	if (!d->corpus->len)
		g_ptr_array_add(d->corpus, g_byte_array_new());
}

static void fuzz(struct driver *d, u64 runs)
{
	GByteArray *input = g_byte_array_new();

	plant_seeds(d);
	for (u64 i = 1; i <= runs; i++) {
		const GByteArray *parent = pick(d);

		g_byte_array_set_size(input, 0);
		g_byte_array_append(input, parent->data, parent->len);
		mutate(d, input);
		run(d, input);
		if (found_something(d) && d->corpus->len < CORPUS_MAX) {
			g_ptr_array_add(d->corpus, input);
			input = g_byte_array_new();
		}
		if (i % MAX(runs / 5, 1) == 0)
			printf("# %llu inputs: %u edges, a corpus of %u\n", (unsigned long long)i,
			       d->edges, d->corpus->len);
	}
	g_byte_array_unref(input);
}

static void run_file(struct driver *d, const char *path)
{
	GByteArray *input = g_byte_array_new();
	char *text;
	size_t bytes;

	if (!g_file_get_contents(path, &text, &bytes, NULL)) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	g_byte_array_append(input, (const u8 *)text, bytes);
	run(d, input);
	printf("# %s: nothing found\n", path);
	g_byte_array_unref(input);
	g_free(text);
}

static void say_end(struct driver *d)
{
	puts("1..2");
	puts(d->edges ? "ok 1 - nothing found" : "not ok 1 - no edge was counted");
	puts(__sanitizer_set_death_callback
		     ? "ok 2 - with sanitizers"
		     : "ok 2 - with sanitizers # SKIP the compiler has no AddressSanitizer");
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "runs", required_argument, NULL, 'r' },
						 { "seed", required_argument, NULL, 's' },
						 { "crash", required_argument, NULL, 'c' },
						 { NULL, 0, NULL, 0 } };
	struct driver *d = &driver;
	u64 runs = 0;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'r': runs = strtoull(optarg, NULL, 0); break;
		case 's': d->random = strtoull(optarg, NULL, 0); break;
		case 'c': d->crash = optarg; break;
		default: fprintf(stderr, "usage: see the head of tests/fuzz/driver.c\n"); return 2;
		}
	}
	d->corpus = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
	g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
	watch_for_death();
	for (; optind < argc; optind++)
		run_file(d, argv[optind]);
	if (runs) {
		fuzz(d, runs);
		say_end(d);
	}
	g_ptr_array_unref(d->corpus);
	return runs && !d->edges;
}
