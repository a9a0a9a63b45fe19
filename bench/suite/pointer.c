// SPDX-License-Identifier: GPL-2.0-or-later
/* Structures that are walked by address: a hash table, a list in random order, a search tree. */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define SLOTS 65536

struct slot {
	u64 key, value;
};

static u64 run_hash(u64 n)
{
	static struct slot slots[SLOTS];
	u64 seed = 37, hash = 0;
	u32 used = 0;

	memset(slots, 0, sizeof(slots));
	for (u64 i = 0; i < n; i++) {
		u64 key = (random_next(&seed) >> 24 & 0xffff) | 1;
		u32 at = mix(1, key) & (SLOTS - 1);

		while (slots[at].key && slots[at].key != key)
			at = (at + 1) & (SLOTS - 1);
		used += !slots[at].key;
		slots[at].key = key;
		slots[at].value += i;
		hash += slots[at].value;
	}
	return mix(hash, used);
}

struct node {
	struct node *next;
	u64 value;
};

static struct node *nodes;

/* One cycle through @count nodes, @apart bytes from each other (Sattolo's shuffle). */
static void setup_cycle(u32 count, size_t apart)
{
	u32 *order = malloc(count * sizeof(*order));
	u64 seed = 41;
	u8 *base = arena(count * apart);

	nodes = (struct node *)base;
	for (u32 i = 0; i < count; i++)
		order[i] = i;
	for (u32 i = count - 1; i; i--) {
		u32 j = (random_next(&seed) >> 20) % i, t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	for (u32 i = 0; i < count; i++) {
		struct node *node = (struct node *)(base + order[i] * apart);

		node->next = (struct node *)(base + order[(i + 1) % count] * apart);
		node->value = i * 3 + 1;
	}
	free(order);
}

static void setup_chase(u64 n)
{
	setup_cycle(32768, sizeof(struct node));
}

/* Over 64 MiB: more pages than a processor's TLB has. */
static void setup_chase_far(u64 n)
{
	setup_cycle(1 << 20, 64);
}

static u64 run_chase(u64 n)
{
	struct node *node = nodes;
	u64 hash = 0;

	while (n--) {
		hash += node->value;
		node->value ^= hash & 0xff;
		node = node->next;
	}
	return hash;
}

struct branch {
	struct branch *left, *right;
	u64 key, count;
};

static u64 run_tree(u64 n)
{
	u64 seed = 43, hash = 0;

	for (u64 round = 0; round < n; round++) {
		struct branch *all = malloc(4096 * sizeof(*all)), *root = NULL;
		u32 used = 0;

		for (int i = 0; i < 20000; i++) {
			u64 key = random_next(&seed) >> 52;
			struct branch **at = &root;

			while (*at && (*at)->key != key)
				at = key < (*at)->key ? &(*at)->left : &(*at)->right;
			if (!*at) {
				*at = &all[used++];
				**at = (struct branch){ .key = key };
			}
			hash += (*at)->count++ * key;
		}
		hash = mix(hash, used);
		free(all);
	}
	return hash;
}

const struct row pointer_rows[] = {
	{ "hash", "pointer", run_hash, 10000000 },
	{ "chase", "pointer", run_chase, 20000000, setup_chase },
	{ "chase-far", "pointer", run_chase, 1000000, setup_chase_far },
	{ "tree", "pointer", run_tree, 100 },
	{},
};
