/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From linear addresses to host memory: page walks, what goes into the software TLB (tlb.c), and
 * every access to guest memory that translated code does not make itself.
 *
 *   translated code --tag matches--> host page
 *        | miss
 *        v
 *   mmu_fill() -- walk() -- tlb_fill() --> host page, tags set
 *        | NULL: crosses a page, MMIO, ROM or a page that holds code
 *        v
 *   access_make() --> done: a read in a buffer, a store in the page
 *        | NULL: neither, or not of RAM
 *        v
 *   access_slow() --> the page itself or a bounce buffer; access_commit() after the instruction
 *
 * A walk reads the guest's tables anew each time: nothing but the TLB is cached, so the TLB is
 * flushed exactly where the manuals let a processor keep old translations and no later.
 * Paging: SDM vol. 3 chapter 4; APM vol. 2 chapter 5. Deviations: docs/cpu.md.
 *
 * Hot: runs with the guest's floating-point state live, so no libc and no vector code.
 *
 * Two processors and code: tlb_fill() first announces itself as a writer of the page in
 * slot->info, then looks whether the page holds code; the translator first marks the page, then
 * looks for writers to revoke. A write without a tag (commit_ram()) stores first and then looks.
 */
#include "cpu/bytes.h"
#include "cpu/helper.h"

#define PTE_P         BIT(0)
#define PTE_W         BIT(1)
#define PTE_U         BIT(2)
#define PTE_A         BIT(5)
#define PTE_D         BIT(6)
#define PTE_PS        BIT(7)
#define PTE_G         BIT(8)
#define PTE_NX        BIT(63)
#define PTE_PAT_LARGE BIT(12)
#define PTE_ADDR      0x000ffffffffff000ull

/* Pages that one miss of a stream fills in: small ones, and parts of a large one. */
#define FILL_AHEAD       8
#define FILL_AHEAD_LARGE 32

/* ---- copies ---------------------------------------------------------------------------------- */

/* One access of a natural size is one host access, so that other processors never see half. */
static inline void copy(void *to, const void *from, unsigned size)
{
	switch (size) {
	case 1: *(volatile u8 *)to = *(const volatile u8 *)from; break;
	case 2: *(volatile u16_any *)to = *(const volatile u16_any *)from; break;
	case 4: *(volatile u32_any *)to = *(const volatile u32_any *)from; break;
	case 8: *(volatile u64_any *)to = *(const volatile u64_any *)from; break;
	default:
		if (size < 64)
			copy_few(to, from, size);
		else
			copy_bytes(to, from, size);
	}
}

/* ---- page walk ------------------------------------------------------------------------------- */

struct walk {
	gpa_t gpa;  /* where the address lies */
	u8 shift;   /* log2 of the guest's page size */
	u8 rights;  /* ACCESS_R, W, X: what this privilege may do */
	bool dirty; /* D is set, so a write needs no further walk */
	bool global;
	u8 bytes;       /* of a table's entry */
	const u8 *leaf; /* where the last entry is, and its value; NULL: no paging */
	u64 leaf_value;
};

/* The entries a walk used, to set their A and D bits when it has succeeded. */
struct walk_entry {
	u8 *host;
	const struct ram_slot *slot;
	gpa_t gpa;
	u64 value;
};

/* How the current mode walks. */
struct walk_mode {
	u64 table;    /* gpa of the first table */
	u64 reserved; /* bits that must be 0 in every entry */
	unsigned levels;
	unsigned bytes; /* of an entry */
	unsigned index_bits;
};

static bool is_user(const struct cpu *cpu, unsigned access)
{
	return cpu->cpl == 3 && !(access & ACCESS_SYSTEM);
}

/* SDM vol. 3 section 4.7. @why holds PF_P and PF_RSV. */
static bool page_fault(struct cpu *cpu, gva_t gva, unsigned access, u32 why)
{
	bool tell_fetch = (cpu->cr4 & CR4_SMEP) || ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE));

	if (access & ACCESS_PROBE)
		return false;
	if (access & ACCESS_W)
		why |= PF_W;
	if (is_user(cpu, access))
		why |= PF_U;
	if ((access & ACCESS_X) && tell_fetch)
		why |= PF_I;
	fault_page(cpu, gva, why);
	return false;
}

static bool canonical(gva_t gva)
{
	return (u64)((s64)(gva << 16) >> 16) == gva;
}

/* Table and format for @gva. False: its PDPTE is not present. */
static bool walk_mode(const struct cpu *cpu, gva_t gva, struct walk_mode *mode)
{
	u64 beyond = PTE_ADDR & ~(BIT(cpu->vm->maxphyaddr) - 1);

	if (!(cpu->cr4 & CR4_PAE)) {
		*mode = (struct walk_mode){ cpu->cr3 & 0xfffff000, 0, 2, 4, 10 };
		return true;
	}
	if (!(cpu->efer & EFER_NXE))
		beyond |= PTE_NX;
	if (cpu->efer & EFER_LMA) {
		*mode = (struct walk_mode){ cpu->cr3 & PTE_ADDR, beyond, 4, 8, 9 };
		return true;
	}
	beyond |= 0x7ff0000000000000ull; /* bits 62:52 are not ignored without long mode */
	*mode = (struct walk_mode){ cpu->pdpte[gva >> 30 & 3] & PTE_ADDR, beyond, 2, 8, 9 };
	return cpu->pdpte[gva >> 30 & 3] & PTE_P;
}

/* Does the entry at @level (0: page table) map a page of its own? */
static bool is_leaf(const struct cpu *cpu, unsigned level, unsigned bytes, u64 entry)
{
	if (level == 0)
		return true;
	if (!(entry & PTE_PS))
		return false;
	if (bytes == 4)
		return cpu->cr4 & CR4_PSE;
	return level == 1 || (level == 2 && vm_has(cpu->vm, FEAT_PDPE1GB));
}

/* Reserved bits of one entry beyond those of every entry: page size, low address bits of a large
 * page, and the high address bits that PSE-36 has no room for. */
static u64 reserved_here(const struct cpu *cpu, unsigned level, unsigned bytes, u64 entry,
			 bool leaf)
{
	if (level == 0 || !(entry & PTE_PS))
		return 0;
	if (bytes == 4) {
		unsigned width = cpu->vm->maxphyaddr < 40 ? cpu->vm->maxphyaddr : 40;

		if (!vm_has(cpu->vm, FEAT_PSE36))
			width = 32;
		return leaf ? 0x3fe000 & ~((BIT(width - 32) - 1) << 13) : 0;
	}
	if (!leaf)
		return PTE_PS;
	return (level == 1 ? 2 * MIB - 1 : GIB - 1) & ~(u64)(PTE_PAT_LARGE | 0xfff);
}

static gpa_t leaf_gpa(gva_t gva, unsigned shift, unsigned bytes, u64 entry)
{
	u64 base = entry & PTE_ADDR & ~(BIT(shift) - 1);

	if (bytes == 4) {
		base &= 0xffffffff;
		if (shift == 22)
			base |= (entry >> 13 & 0xff) << 32;
	}
	return base | (gva & (BIT(shift) - 1));
}

static u64 entry_load(const u8 *host, unsigned bytes)
{
	if (bytes == 4)
		return __atomic_load_n((const u32 *)host, __ATOMIC_RELAXED);
	return __atomic_load_n((const u64 *)host, __ATOMIC_RELAXED);
}

/* A processor wrote @size bytes at @gpa, in one page, without a write tag: did code stand there? */
static void commit_ram(struct cpu *cpu, const struct ram_slot *slot, gpa_t gpa, unsigned size)
{
	dirty_note(cpu->vm, slot, gpa);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&slot->info[(gpa - slot->gpa) >> PAGE_SHIFT], __ATOMIC_SEQ_CST) &
	    PAGE_HAS_CODE)
		code_written(cpu->vm, gpa, size);
}

/* Sets @bits in a table entry. False: somebody else changed the entry, walk again. */
static bool entry_set(struct cpu *cpu, struct walk_entry *e, unsigned bytes, u64 bits)
{
	bool done;

	if ((e->value & bits) == bits || (e->slot->flags & CPU_SLOT_READONLY))
		return true;
	if (bytes == 4) {
		u32 old = e->value;

		done = __atomic_compare_exchange_n((u32 *)e->host, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else {
		u64 old = e->value;

		done = __atomic_compare_exchange_n((u64 *)e->host, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	if (done)
		commit_ram(cpu, e->slot, e->gpa, bytes);
	return done;
}

/* SDM vol. 3 section 4.6: what the collected U/S, R/W and XD bits let this access do. */
static unsigned rights_of(const struct cpu *cpu, unsigned access, u64 and_bits, bool nx)
{
	bool user_page = and_bits & PTE_U;
	unsigned rights;

	if (is_user(cpu, access)) {
		if (!user_page)
			return 0;
		rights = ACCESS_R | (and_bits & PTE_W ? ACCESS_W : 0);
	} else {
		bool smap = user_page && (cpu->cr4 & CR4_SMAP) &&
			    ((access & ACCESS_SYSTEM) || !(cpu->rflags & FLAG_AC));

		rights = smap ? 0 : ACCESS_R;
		if (!smap && ((and_bits & PTE_W) || !(cpu->cr0 & CR0_WP)))
			rights |= ACCESS_W;
		if (user_page && (cpu->cr4 & CR4_SMEP))
			nx = true;
	}
	return nx ? rights : rights | ACCESS_X;
}

enum walk_result { WALK_FAULT, WALK_DONE, WALK_AGAIN };

static enum walk_result walk_once(struct cpu *cpu, gva_t gva, unsigned access, struct walk *w)
{
	struct walk_entry used[4];
	struct walk_mode mode;
	u64 and_bits = ~0ull, entry = 0;
	unsigned level, count = 0, shift;
	bool nx = false, leaf;
	gpa_t table;

	if (!walk_mode(cpu, gva, &mode))
		return page_fault(cpu, gva, access, 0);
	table = mode.table;
	for (level = mode.levels - 1;; level--) {
		struct walk_entry *e = &used[count];

		shift = PAGE_SHIFT + level * mode.index_bits;
		e->gpa = table + (gva >> shift & (BIT(mode.index_bits) - 1)) * mode.bytes;
		e->host = ram_ptr(cpu->vm, e->gpa, &e->slot);
		if (!e->host) /* tables outside RAM: deviation, a machine would read the device */
			return page_fault(cpu, gva, access, 0);
		e->value = entry = entry_load(e->host, mode.bytes);
		count++;
		if (!(entry & PTE_P))
			return page_fault(cpu, gva, access, 0);
		leaf = is_leaf(cpu, level, mode.bytes, entry);
		if (entry & (mode.reserved | reserved_here(cpu, level, mode.bytes, entry, leaf)))
			return page_fault(cpu, gva, access, PF_P | PF_RSV);
		and_bits &= entry;
		nx |= mode.bytes == 8 && (entry & PTE_NX);
		if (leaf)
			break;
		table = entry & (mode.bytes == 4 ? 0xfffff000 : PTE_ADDR);
	}

	w->rights = rights_of(cpu, access, and_bits, nx);
	if (access & (ACCESS_R | ACCESS_W | ACCESS_X) & ~w->rights)
		return page_fault(cpu, gva, access, PF_P);
	if (!(access & ACCESS_PROBE)) {
		for (unsigned i = 0; i < count; i++) {
			u64 bits = PTE_A;

			if (i == count - 1 && (access & ACCESS_W))
				bits |= PTE_D;
			if (!entry_set(cpu, &used[i], mode.bytes, bits))
				return WALK_AGAIN;
			entry |= bits;
		}
	}
	w->gpa = leaf_gpa(gva, shift, mode.bytes, entry);
	w->shift = shift;
	w->dirty = entry & PTE_D;
	w->global = (entry & PTE_G) && (cpu->cr4 & CR4_PGE);
	w->bytes = mode.bytes;
	w->leaf = used[count - 1].host;
	w->leaf_value = entry;
	return WALK_DONE;
}

static bool walk(struct cpu *cpu, gva_t gva, unsigned access, struct walk *w)
{
	enum walk_result result;

	if (!(cpu->cr0 & CR0_PG)) {
		*w = (struct walk){ .gpa = (u32)gva,
				    .shift = PAGE_SHIFT,
				    .rights = ACCESS_R | ACCESS_W | ACCESS_X,
				    .dirty = true };
		return true;
	}
	if (!cpu_long_mode(cpu)) {
		gva = (u32)gva;
	} else if (!canonical(gva)) {
		if (!(access & ACCESS_PROBE))
			fault_error(cpu, VEC_GP, 0);
		return false;
	}
	do {
		result = walk_once(cpu, gva, access, w);
	} while (result == WALK_AGAIN);
	return result == WALK_DONE;
}

bool mmu_translate(struct cpu *cpu, gva_t gva, unsigned access, gpa_t *gpa)
{
	struct walk w;

	if (!walk(cpu, gva, access, &w))
		return false;
	*gpa = w.gpa;
	return true;
}

/* ---- into the TLB ---------------------------------------------------------------------------- */

static struct tlb *tlb_of(struct cpu *cpu, unsigned access)
{
	if (access & ACCESS_SYSTEM)
		return &cpu->tlb[TLB_KERNEL];
	if (cpu->cpl == 3)
		return &cpu->tlb[TLB_USER];
	return &cpu->tlb[cpu->ctx & CTX_AC ? TLB_KERNEL_AC : TLB_KERNEL];
}

/* May this processor keep a write tag for the page? Announces it; see the head comment. While
 * written pages are noted only a page that is written has one, and counts as written. */
static bool writer_announce(struct cpu *cpu, const struct ram_slot *slot, gpa_t gpa,
			    unsigned access)
{
	u32 *info = &slot->info[(gpa - slot->gpa) >> PAGE_SHIFT];
	u32 now = __atomic_load_n(info, __ATOMIC_SEQ_CST);

	if (now & PAGE_HAS_CODE || (unlikely(cpu->vm->logging) && !(access & ACCESS_W)))
		return false;
	if (!(now & PAGE_WRITER(cpu->index)))
		now = __atomic_or_fetch(info, PAGE_WRITER(cpu->index), __ATOMIC_SEQ_CST);
	if (now & PAGE_HAS_CODE)
		return false;
	dirty_note(cpu->vm, slot, gpa);
	return true;
}

static struct tlb_entry *tlb_fill(struct cpu *cpu, gva_t gva, unsigned access, const struct walk *w,
				  const u8 *host, const struct ram_slot *slot)
{
	struct tlb *tlb = tlb_of(cpu, access);
	unsigned i = tlb_index(tlb, gva);
	struct tlb_entry e;
	gva_t page = gva & PAGE_MASK;
	bool write = (w->rights & ACCESS_W) && w->dirty && !(slot->flags & CPU_SLOT_READONLY) &&
		     writer_announce(cpu, slot, w->gpa, access);

	e.host = (u64)host & PAGE_MASK;
	e.read_tag = w->rights & ACCESS_R ? page : TLB_INVALID(i);
	e.write_tag = write ? page : TLB_INVALID(i);
	e.exec_tag = w->rights & ACCESS_X ? page : TLB_INVALID(i);
	if (w->shift == PAGE_SHIFT && !w->global)
		tlb_keep(cpu, tlb - cpu->tlb, gva, &e);
	return tlb_insert(tlb, gva, &e, w->shift, w->global);
}

/* The walk of @gva, a small page, for the page @k further on, whose entry is in the same line of
 * the same table: false, if the guest has not used it yet or allows something else there. */
static bool walk_on(struct walk *w, gva_t gva, unsigned k)
{
	u64 value = entry_load(w->leaf + k * w->bytes, w->bytes);

	if ((value ^ w->leaf_value) & ~(PTE_ADDR | PTE_D) || !(value & PTE_A))
		return false;
	w->gpa = leaf_gpa(gva + k * PAGE_SIZE, PAGE_SHIFT, w->bytes, value);
	w->dirty = value & PTE_D;
	return true;
}

/* Fills in the pages behind @gva, as a processor may at any time: up to the next multiple of as
 * many, where a large page or a line of the page table ends. Returns the first page not filled in.
 */
static gva_t fill_ahead(struct cpu *cpu, gva_t gva, unsigned access, const struct walk *w)
{
	unsigned most = w->shift > PAGE_SHIFT ? FILL_AHEAD_LARGE : FILL_AHEAD;
	unsigned count = most - (gva >> PAGE_SHIFT) % most, k;

	for (k = 1; k < count; k++) {
		const struct ram_slot *slot;
		struct walk next = *w;
		u8 *host;

		if (w->shift > PAGE_SHIFT)
			next.gpa = w->gpa + k * PAGE_SIZE;
		else if (!walk_on(&next, gva, k))
			break;
		host = ram_ptr(cpu->vm, next.gpa, &slot);
		if (!host)
			break;
		tlb_fill(cpu, gva + k * PAGE_SIZE, access & ~ACCESS_W, &next, host, slot);
	}
	return (gva & PAGE_MASK) + k * PAGE_SIZE;
}

/* Host address if the TLB allows the access at once. */
static void *tlb_hit(struct cpu *cpu, gva_t gva, unsigned size, unsigned access)
{
	const struct tlb *tlb = tlb_of(cpu, access);
	const struct tlb_entry *e = &tlb->e[tlb_index(tlb, gva)];
	u64 tag = access & ACCESS_W ? e->write_tag : e->read_tag;

	if (gva - tag > PAGE_SIZE - size)
		return NULL;
	return (u8 *)e->host + (gva & ~PAGE_MASK);
}

/* The stream that a miss at this page goes on with, or NULL: then a new one begins behind it, in
 * place of the oldest. */
static gva_t *stream_of(struct cpu *cpu, gva_t page)
{
	for (unsigned i = 0; i < FILL_STREAMS; i++)
		if (cpu->streams[i] == page)
			return &cpu->streams[i];
	cpu->streams[cpu->next_stream++ % FILL_STREAMS] = page + PAGE_SIZE;
	return NULL;
}

void *mmu_fill(struct cpu *cpu, gva_t gva, unsigned size, unsigned access)
{
	struct tlb *tlb = tlb_of(cpu, access);
	const struct ram_slot *slot;
	struct tlb_entry *e;
	gva_t *stream;
	struct walk w;
	u8 *host = tlb_hit(cpu, gva, size, access);

	if (host) /* a page of the stack's that cannot be written */
		return host;
	if ((gva & ~PAGE_MASK) + size <= PAGE_SIZE) {
		e = tlb_take_victim(tlb, gva, access);
		if (e)
			return (u8 *)(uintptr_t)e->host + (gva & ~PAGE_MASK);
	}
	tlb_fit(cpu, tlb);
	if ((gva & ~PAGE_MASK) + size <= PAGE_SIZE) {
		e = tlb_take_kept(cpu, tlb, gva, access);
		if (e)
			return (u8 *)(uintptr_t)e->host + (gva & ~PAGE_MASK);
	}
	if (!walk(cpu, gva, access, &w))
		return NULL;
	host = ram_ptr(cpu->vm, w.gpa, &slot);
	if (!host)
		return NULL;
	e = tlb_fill(cpu, gva, access, &w, host, slot);
	stream = w.leaf ? stream_of(cpu, gva & PAGE_MASK) : NULL;
	if (stream)
		*stream = fill_ahead(cpu, gva, access, &w);
	if ((gva & ~PAGE_MASK) + size > PAGE_SIZE)
		return NULL;
	if ((access & ACCESS_W) && e->write_tag != (gva & PAGE_MASK))
		return NULL;
	return host;
}

/* The slot of a host address that the TLB handed out. */
static const struct ram_slot *slot_of_host(const struct cpu_vm *vm, const u8 *host)
{
	for (unsigned i = 0; i < vm->slot_count; i++)
		if ((u64)(host - vm->slots[i].hva) < vm->slots[i].bytes)
			return &vm->slots[i];
	return NULL;
}

bool mmu_fetched_global(struct cpu *cpu, gva_t gva)
{
	const struct tlb *tlb = tlb_of(cpu, ACCESS_X);
	unsigned i = tlb_index(tlb, gva);

	return tlb->e[i].exec_tag == (gva & PAGE_MASK) && tlb->global[i / 64] >> (i % 64) & 1;
}

/* What a fetch finds where there is neither RAM nor ROM: nobody drives the bus. FF FF is #UD. */
static const u8 open_bus[PAGE_SIZE] = { [0 ... PAGE_SIZE - 1] = 0xff };

bool mmu_fetch_page(struct cpu *cpu, gva_t gva, gpa_t *page, u8 **host)
{
	const struct tlb *tlb = tlb_of(cpu, ACCESS_X);
	const struct tlb_entry *e = &tlb->e[tlb_index(tlb, gva)];
	const struct ram_slot *slot;
	struct walk w;
	u8 *ptr;

	if (likely(e->exec_tag == (gva & PAGE_MASK))) {
		ptr = (u8 *)(uintptr_t)e->host;
		slot = slot_of_host(cpu->vm, ptr);
		if (likely(slot)) {
			*host = ptr;
			*page = slot->gpa + (ptr - slot->hva);
			return true;
		}
	}
	if (!walk(cpu, gva, ACCESS_X, &w))
		return false;
	*page = w.gpa & PAGE_MASK;
	ptr = ram_ptr(cpu->vm, *page, &slot);
	*host = ptr ? ptr : (u8 *)(uintptr_t)open_bus; /* only read */
	if (ptr)
		tlb_fill(cpu, gva, ACCESS_X, &w, ptr, slot);
	return true;
}

/* ---- accesses without a tag ------------------------------------------------------------------ */

/* The one or two pages that an access touches. */
struct span {
	struct part {
		gpa_t gpa;
		u8 *host;                    /* NULL: the bus answers */
		const struct ram_slot *slot; /* NULL: the TLB has a tag for the access */
		unsigned size;
	} part[2];
	unsigned count;
};

static bool part_find(struct cpu *cpu, gva_t gva, unsigned size, unsigned access, struct part *part)
{
	struct walk w;

	if (!walk(cpu, gva, access, &w))
		return false;
	part->gpa = w.gpa;
	part->size = size;
	part->host = ram_ptr(cpu->vm, w.gpa, &part->slot);
	if (part->host && (access & ACCESS_W) && (part->slot->flags & CPU_SLOT_READONLY))
		part->host = NULL;
	else if (part->host)
		tlb_fill(cpu, gva, access, &w, part->host, part->slot);
	return true;
}

/* The same without its guest physical address, where the TLB has the page. */
static bool part_find_host(struct cpu *cpu, gva_t gva, unsigned size, unsigned access,
			   struct part *part)
{
	part->host = tlb_hit(cpu, gva, size, access);
	part->size = size;
	part->slot = NULL;
	return part->host || part_find(cpu, gva, size, access, part);
}

/* Linear addresses wrap at 4 GiB unless they are 64 bits wide. */
static gva_t next_page(const struct cpu *cpu, gva_t gva, unsigned access)
{
	gva_t next = (gva & PAGE_MASK) + PAGE_SIZE;

	if (cpu_64bit(cpu) || (cpu_long_mode(cpu) && (access & ACCESS_SYSTEM)))
		return next;
	return (u32)next;
}

typedef bool part_finder(struct cpu *cpu, gva_t gva, unsigned size, unsigned access,
			 struct part *part);

/* Both pages are translated before either is touched. A device's access, and what the second page's
 * walk writes, may take the tag away that vouches for the other page. */
static bool span_find(struct cpu *cpu, gva_t gva, unsigned size, unsigned access, struct span *span,
		      part_finder *find)
{
	unsigned first = PAGE_SIZE - (gva & ~PAGE_MASK);
	u32 taken = cpu->vm->tags_taken;

	span->count = size > first ? 2 : 1;
	if (!find(cpu, gva, size > first ? first : size, access, &span->part[0]))
		return false;
	if (span->count == 1)
		return true;
	if (!find(cpu, next_page(cpu, gva, access), size - first, access, &span->part[1]))
		return false;
	if (find == part_find ||
	    (taken == cpu->vm->tags_taken && span->part[0].host && span->part[1].host))
		return true;
	return span_find(cpu, gva, size, access, span, part_find);
}

static void mmio(struct cpu *cpu, gpa_t gpa, u8 *data, unsigned size, bool write)
{
	const struct cpu_bus *bus = &cpu->vm->config.bus;

	fpu_leave(cpu);
	while (size) {
		unsigned chunk = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
		u64 value = 0;

		if (write)
			copy(&value, data, chunk);
		bus->mmio(bus->opaque, cpu->index, gpa, &value, chunk, write);
		if (!write)
			copy(data, &value, chunk);
		gpa += chunk;
		data += chunk;
		size -= chunk;
	}
}

static void span_read(struct cpu *cpu, const struct span *span, u8 *data)
{
	for (unsigned i = 0; i < span->count; i++) {
		const struct part *part = &span->part[i];

		if (part->host)
			copy(data, part->host, part->size);
		else
			mmio(cpu, part->gpa, data, part->size, false);
		data += part->size;
	}
}

static void span_write(struct cpu *cpu, const struct span *span, const u8 *data)
{
	for (unsigned i = 0; i < span->count; i++) {
		const struct part *part = &span->part[i];

		if (!part->host)
			mmio(cpu, part->gpa, (u8 *)data, part->size, true);
		else
			copy(part->host, data, part->size);
		if (part->slot && part->host)
			commit_ram(cpu, part->slot, part->gpa, part->size);
		data += part->size;
	}
}

/* What the bounce buffer holds before the instruction. RAM is read for a write too: a masked store
 * changes some of the bytes. A device is read only if the instruction reads it. */
static void bounce_load(struct cpu *cpu, const struct span *span, u8 *data, unsigned access)
{
	for (unsigned i = 0; i < span->count; i++) {
		const struct part *part = &span->part[i];

		if (part->host)
			copy(data, part->host, part->size);
		else if (access & ACCESS_R)
			mmio(cpu, part->gpa, data, part->size, false);
		else
			clear_bytes(data, part->size);
		data += part->size;
	}
}

void *access_slow(struct cpu *cpu, gva_t gva, unsigned size, unsigned access)
{
	struct bounce *b = &cpu->bounce;
	u8 *data = b->data + (gva & 63);
	struct span span;

	b->size = 0;
	if (!span_find(cpu, gva, size, access, &span, part_find))
		return NULL;
	b->gva = gva;
	b->gpa = span.part[0].gpa;
	b->gpa2 = span.count == 2 ? span.part[1].gpa : 0;
	b->write = (access & ACCESS_W) != 0;
	b->direct = 0;
	if (span.count == 1 && span.part[0].host) {
		b->direct = b->write;
		b->size = b->write ? size : 0;
		return span.part[0].host;
	}
	bounce_load(cpu, &span, data, access);
	b->size = b->write ? size : 0;
	return data;
}

void *access_make(struct cpu *cpu, gva_t gva, unsigned size, unsigned access, const void *store)
{
	struct span span;

	if (!span_find(cpu, gva, size, access, &span, part_find_host) || !span.part[0].host ||
	    (span.count == 2 && !span.part[1].host))
		return NULL;
	if (access & ACCESS_W)
		span_write(cpu, &span, store);
	else
		span_read(cpu, &span, cpu->bounce.data);
	return cpu->bounce.data;
}

static void part_again(struct cpu *cpu, struct part *part, gpa_t gpa, unsigned size)
{
	part->gpa = gpa;
	part->size = size;
	part->host = ram_ptr(cpu->vm, gpa, &part->slot);
	if (part->host && (part->slot->flags & CPU_SLOT_READONLY))
		part->host = NULL;
}

void access_commit(struct cpu *cpu)
{
	struct bounce *b = &cpu->bounce;
	unsigned first = PAGE_SIZE - (b->gva & ~PAGE_MASK);
	struct span span = { .count = b->size > first ? 2 : 1 };

	if (!b->size)
		return;
	part_again(cpu, &span.part[0], b->gpa, b->size > first ? first : b->size);
	if (b->direct) {
		commit_ram(cpu, span.part[0].slot, b->gpa, b->size);
	} else {
		if (span.count == 2)
			part_again(cpu, &span.part[1], b->gpa2, b->size - first);
		span_write(cpu, &span, b->data + (b->gva & 63));
	}
	b->size = 0;
	b->direct = 0;
}

/* ---- accessors of the helpers ---------------------------------------------------------------- */

bool mem_read(struct cpu *cpu, gva_t gva, void *data, unsigned size, unsigned access)
{
	const void *hit = tlb_hit(cpu, gva, size, access | ACCESS_R);
	struct span span;

	if (likely(hit)) {
		copy(data, hit, size);
		return true;
	}
	if (!span_find(cpu, gva, size, access | ACCESS_R, &span, part_find_host))
		return false;
	span_read(cpu, &span, data);
	return true;
}

bool mem_write(struct cpu *cpu, gva_t gva, const void *data, unsigned size, unsigned access)
{
	void *hit = tlb_hit(cpu, gva, size, access | ACCESS_W);
	struct span span;

	if (likely(hit)) {
		copy(hit, data, size);
		return true;
	}
	if (!span_find(cpu, gva, size, access | ACCESS_W, &span, part_find_host))
		return false;
	span_write(cpu, &span, data);
	return true;
}

bool mem_probe(struct cpu *cpu, gva_t gva, unsigned size, unsigned access)
{
	struct span span;

	if (tlb_hit(cpu, gva, size, access | ACCESS_W))
		return true;
	return span_find(cpu, gva, size, access | ACCESS_W, &span, part_find_host);
}

bool mem_or_byte(struct cpu *cpu, gva_t gva, u8 bits, unsigned access)
{
	struct part part;

	if (!part_find(cpu, gva, 1, access | ACCESS_R | ACCESS_W, &part))
		return false;
	if (part.host) { /* a descriptor in a device or in ROM keeps its bits */
		__atomic_fetch_or(part.host, bits, __ATOMIC_SEQ_CST);
		commit_ram(cpu, part.slot, part.gpa, 1);
	}
	return true;
}

bool mem_ref(struct cpu *cpu, gva_t gva, unsigned size, unsigned access, struct mem_ref *ref)
{
	struct part part;

	ref->slot = NULL;
	ref->host = tlb_hit(cpu, gva, size, access);
	if (ref->host || (gva & ~PAGE_MASK) + size > PAGE_SIZE)
		return true;
	if (!part_find(cpu, gva, size, access, &part))
		return false;
	ref->host = part.host;
	ref->gpa = part.gpa;
	ref->slot = part.slot;
	return true;
}

void mem_ref_written(struct cpu *cpu, const struct mem_ref *ref, s64 offset, unsigned size)
{
	if (ref->slot)
		commit_ram(cpu, ref->slot, ref->gpa + offset, size);
}
