/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One virtqueue and a driver that writes anything into its rings at any time. Whatever it does,
 * what comes out of virtq_pop() is RAM, bounded, and adds up.
 *
 *   input: u8 flags, u8 log2 of the size, then operations: u8 what, its numbers
 */
#include "device/virtio/virtq.h"
#include "fuzz.h"
#include "testvm.h"

#include <string.h>

const size_t fuzz_bytes_max = 4 * KIB;
const bool fuzz_text = false;

#define MEMORY (2 * MIB)
#define DESC   0x10000ull
#define AVAIL  0x20000ull
#define USED   0x30000ull
#define TABLE  0x40000ull /* an indirect one */

enum operation {
	PUT_DESC,
	PUT_TABLE,
	OFFER,
	PUT_WORD,
	POP,
	PUSH,
	UNPOP,
	NOTIFY,
	SILENCE,
	RESTART,
	OPERATIONS
};

struct walk {
	struct vm *vm;
	struct virtq q;
	struct virtq_chain chain;
	bool popped;
	unsigned unpoppable;
	u16 next;
};

static void give_desc(GByteArray *seed, enum operation where, unsigned i, u64 address, u32 bytes,
		      u16 flags, u16 next)
{
	fuzz_give(seed, where, 1);
	fuzz_give(seed, i, 1);
	fuzz_give(seed, address, 8);
	fuzz_give(seed, bytes, 4);
	fuzz_give(seed, flags, 2);
	fuzz_give(seed, next, 2);
}

static void give_offer(GByteArray *seed, u16 head)
{
	fuzz_give(seed, OFFER, 1);
	fuzz_give(seed, head, 2);
}

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	static const u8 after[] = { POP, PUSH, NOTIFY, SILENCE, POP, UNPOP, POP, PUSH, NOTIFY };

	if (index >= 8)
		return false;
	fuzz_give(seed, index & 3, 1);
	fuzz_give(seed, index & 4 ? 8 : 3, 1);
	give_desc(seed, PUT_DESC, 0, 0x1000, 16, 1, 1);
	give_desc(seed, PUT_DESC, 1, 0x2000, 4096, 3, 2);
	give_desc(seed, PUT_DESC, 2, 0x3000, 1, 2, 0);
	give_desc(seed, PUT_DESC, 3, TABLE, 32, 4, 0);
	give_desc(seed, PUT_TABLE, 0, 0x9f000, 0x1000, 1, 1);
	give_desc(seed, PUT_TABLE, 1, 0xc0000, 0x80000, 2, 0);
	give_offer(seed, 0);
	give_offer(seed, 3);
	g_byte_array_append(seed, after, sizeof(after));
	return true;
}

static void put_desc(struct walk *w, struct fuzz_bytes *in, gpa_t table)
{
	u8 desc[16];

	table += 16 * fuzz_take(in, 1);
	for (unsigned i = 0; i < 16; i += 4)
		memcpy(desc + i, &(u32){ fuzz_take(in, 4) }, 4);
	vm_mem_write(w->vm, table, desc, sizeof(desc));
}

static void offer(struct walk *w, struct fuzz_bytes *in)
{
	u16 head = fuzz_take(in, 2), size = w->q.size ?: 1;

	vm_mem_write(w->vm, AVAIL + 4 + 2 * (w->next++ % size), &head, 2);
	vm_mem_write(w->vm, AVAIL + 2, &w->next, 2);
}

/* Anywhere in the rings. */
static void put_word(struct walk *w, struct fuzz_bytes *in)
{
	gpa_t at = DESC + fuzz_take(in, 3) % (TABLE + 0x10000 - DESC);
	u16 value = fuzz_take(in, 2);

	vm_mem_write(w->vm, at & ~1ull, &value, 2);
}

static void check_chain(const struct walk *w)
{
	const struct virtq_chain *c = &w->chain;
	u64 bytes[2] = { 0, 0 };
	u8 buf[64];

	FUZZ_CHECK(c->head < w->q.size);
	FUZZ_CHECK(c->out_count + c->in_count <= VIRTQ_SEGMENTS_MAX);
	for (unsigned i = 0; i < c->out_count + c->in_count; i++) {
		FUZZ_CHECK(c->iov[i].iov_len);
		FUZZ_CHECK(c->iov[i].iov_base == vm_mem_ptr(w->vm, c->gpa[i], c->iov[i].iov_len));
		bytes[i >= c->out_count] += c->iov[i].iov_len;
	}
	FUZZ_CHECK(bytes[0] == c->out_bytes && bytes[1] == c->in_bytes);
	FUZZ_CHECK(virtq_chain_read(c, 0, buf, sizeof(buf)) == MIN(bytes[0], sizeof(buf)));
	FUZZ_CHECK(virtq_chain_write(c, bytes[1], buf, sizeof(buf)) == 0);
}

static void pop(struct walk *w)
{
	int got = virtq_pop(&w->q, &w->chain);

	FUZZ_CHECK(got <= 1);
	FUZZ_CHECK(got >= 0 || w->q.broken);
	w->popped = got == 1;
	if (w->popped) {
		check_chain(w);
		w->unpoppable++;
	}
}

static void push(struct walk *w, u32 written)
{
	if (!w->popped)
		return;
	virtq_chain_write(&w->chain, 0, "written", 8);
	virtq_push(&w->q, &w->chain, MIN(written, w->chain.in_bytes));
	w->popped = false;
	w->unpoppable = 0;
}

static void start(struct walk *w, u8 flags, u8 log2)
{
	FUZZ_CHECK(virtq_start(&w->q, 1 << log2 % 11, DESC, AVAIL, USED, flags & 1, flags & 2) ==
		   0);
	w->popped = false;
	w->unpoppable = w->next = 0;
}

static void operate(struct walk *w, struct fuzz_bytes *in)
{
	switch ((enum operation)(fuzz_take(in, 1) % OPERATIONS)) {
	case PUT_DESC: put_desc(w, in, DESC); break;
	case PUT_TABLE: put_desc(w, in, TABLE); break;
	case OFFER: offer(w, in); break;
	case PUT_WORD: put_word(w, in); break;
	case POP: pop(w); break;
	case PUSH: push(w, in->left); break;
	case UNPOP:
		virtq_unpop(&w->q, w->unpoppable);
		w->unpoppable = 0;
		w->popped = false;
		break;
	case NOTIFY:
		virtq_should_notify(&w->q);
		virtq_enable_notify(&w->q);
		break;
	case SILENCE: virtq_disable_notify(&w->q); break;
	case RESTART:
		virtq_stop(&w->q);
		start(w, fuzz_take(in, 1), fuzz_take(in, 1));
		break;
	case OPERATIONS: break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm *vm; /* RAM alone; every input starts with cleared rings */
	struct fuzz_bytes in = { data, size };
	struct walk w = { .next = 0 };
	u8 flags = fuzz_take(&in, 1), log2 = fuzz_take(&in, 1);

	if (!vm)
		vm = test_vm_bare(1, MEMORY);
	vm_mem_discard(vm, DESC, TABLE + 0x10000 - DESC);
	w.vm = vm;
	virtq_init(&w.q, vm);
	start(&w, flags, log2);
	while (in.left)
		operate(&w, &in);
	return 0;
}
