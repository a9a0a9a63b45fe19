/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of one software processor, shared by the files of this room only.
 *
 *   translated code  --rbp-->  struct cpu   (rbp points CPU_RBP_BIAS bytes into it, so that the
 *                                            hot first 256 bytes are in reach of an 8-bit
 *                                            displacement)
 *
 * Who may touch what: everything belongs to the thread in cpu_run(), except the fields under
 * "any thread". Guest x87/SSE/AVX state is live in the host's registers while @fpu_loaded; C code
 * that runs then is compiled for general registers only and calls no libc (the files listed as
 * hot in meson.build). Everything else first calls fpu_leave().
 *
 * Helpers report a guest exception by fault() (or fault_page()) and returning HELPER_FAULT or
 * false; nothing architectural may have changed by then except what the manual says has.
 */
#ifndef LODGE_CPU_VCPU_H
#define LODGE_CPU_VCPU_H

#include "cpu/arch.h"
#include "cpu/cpu.h"
#include "cpu/feature.h"
#include "cpu/x86/insn.h"

#define CPU_RBP_BIAS 128

/* The translated code's stack, the guard page at its low end not counted. */
#define SHADOW_BYTES (64 * KIB)

/* ---- software TLB ------------------------------------------------------------------------ */

/* As many entries as a TLB begins with, and as it has at most: tlb_fit(). */
#define TLB_SHIFT_MIN 12
#define TLB_SHIFT_MAX 18
#define TLB_MAX       (1 << TLB_SHIFT_MAX)
#define TLB_LISTS     1024

/* One page. A tag equals the page's linear address when that access may go straight to @host;
 * otherwise it is TLB_INVALID(slot), which no address with this index can match. A write tag is
 * set only if the page is RAM, writable, dirty in the guest's tables and holds no translated code.
 */
struct tlb_entry {
	u64 read_tag;
	u64 write_tag;
	u64 exec_tag;
	u64 host; /* host address of the page */
};
/* Mostly zero, so that a new TLB is fresh memory that nobody has touched. */
#define TLB_INVALID(index) ((u64)((index) == 0) << PAGE_SHIFT)

/* Which of the TLBs: chosen by the translation context, so code names it by a constant. */
enum tlb_kind { TLB_KERNEL, TLB_KERNEL_AC, TLB_USER, TLB_KINDS };

/* Entries whose place was taken by others, tlb.c only. Forgotten whenever any entry is dropped or
 * loses its write tag. */
#define TLB_VICTIMS 8
struct tlb_victims {
	struct tlb_entry e[TLB_VICTIMS];
	u32 slot[TLB_VICTIMS]; /* where it was: elsewhere its invalid tags may be good ones */
	u8 shift[TLB_VICTIMS];
	u8 held, global; /* a bit an entry */
	u8 next;         /* to be overwritten */
};

struct tlb {
	struct tlb_entry e[TLB_MAX]; /* the first @mask + 1 */
	u32 mask;                    /* what of a page's number is its entry's; cpu->tlb_mask too */
	u32 displaced;               /* pages that took another's entry; halved by each flush */
	/* A bit an entry, tlb.c and mmu_fetched_global() only: has some valid tag; survives a CR3
	 * write; is a fragment of a large page, all of which INVLPG must drop. Flushing costs what
	 * is in use, not the size.
	 */
	u64 used_words[TLB_MAX / 64 / 64]; /* a bit for each word of @used that is not 0 */
	u64 used[TLB_MAX / 64];
	u64 global[TLB_MAX / 64];
	u64 large[TLB_MAX / 64];
	u8 shift[TLB_MAX]; /* log2 of the guest's page size, for fragments */
	/* Where fragments are, if there are any: from the first byte to the last of their pages. */
	gva_t large_first, large_last;
	u8 any_large;
	struct tlb_victims victims;
	/* Entries with a write tag by their host pages, tlb.c only: lists through @next_writer,
	 * which begin at @writers[number of the host's page % TLB_LISTS]. All numbers are indexes
	 * plus one, 0: none. An entry stays in its list when it changes or goes, and is taken out
	 * when somebody comes by, or when it is wanted in another one: @listed says which it is in.
	 */
	u32 writers[TLB_LISTS];
	u32 next_writer[TLB_MAX];
	u16 listed[TLB_MAX];
} __attribute__((aligned(sizeof(struct tlb_entry))));

/* Arrays a multiple of the TLB's reach apart (16 MiB at first), walked together, take each other's
 * entry, which struct tlb_victims makes up for. */
static inline unsigned tlb_index(const struct tlb *tlb, gva_t gva)
{
	return gva >> PAGE_SHIFT & tlb->mask;
}

/* A page of an address space that the guest may come back to: tlb_kept.c only. */
#define KEPT_PAGES 4096
struct kept_page {
	u64 page, host;
	u32 key;    /* of its PCID then; 0: none */
	u32 writes; /* tlb_kept.writes then */
	u8 kind;    /* enum tlb_kind */
	u8 rights;  /* ACCESS_R, W, X: which tags it had */
};

#define KEPT_PCIDS 8
struct tlb_kept {
	u32 key;    /* of the current PCID; 0: nothing is kept */
	u32 last;   /* handed out */
	u32 writes; /* how often a page of this processor's has lost its write tag */
	struct kept_pcid {
		u32 pcid, key; /* 0: none */
	} pcids[KEPT_PCIDS];
	struct kept_page pages[KEPT_PAGES];
};

/* The page that the guest's stack was last seen in: what goes off RSP is compared with this before
 * it asks the TLB, from which it was copied; the page may be read and written. Forgotten with the
 * entries put aside. Forgotten, it stands for an address that is not canonical, whose access then
 * ends in the host's page 0, where nothing is: SIGNAL_NOWHERE. */
struct stack_page {
	u64 tag; /* its linear address */
	u64 host;
};
#define STACK_NOWHERE BIT(63)

/* ---- jump cache: linear address -> translated code ----------------------------------------- */

#define JC_ENTRIES  16384
/* An address has two places, whose numbers differ by this bit. Blocks look in the first, the thunks
 * behind them in the other, where what another address has displaced goes. */
#define JC_SECOND   1
/* The first place of an address. */
#define JC_HASH     0x9e3779b1u
#define JC_SLOT(pc) ((u32)(pc)*JC_HASH >> 18)
struct jump_entry {
	u64 pc; /* linear address; ~0 never matches (checked: canonical) */
	/* The context the translation is valid in; compared with cpu->jc_key and exit_request in
	 * one, so that who looks polls as well. */
	u32 ctx;
	u32 zero;
	u64 code; /* host address of the entry */
	u64 unused;
};

/* Entries are good for one epoch of address translation, and so are frames of calls. Kernel and
 * user have epochs of their own, and each address space of a guest that uses PCIDs keeps its own.
 */
enum jc_class { JC_KERNEL, JC_USER, JC_CLASSES };

#define EPOCH_PCIDS 8
struct epochs {
	u32 now[JC_CLASSES]; /* 1..65535 */
	u32 last;            /* handed out */
	bool local_kernel; /* kernel code runs from pages that are not global, or in the lower half
			    */
	bool global_user;  /* user code runs from global pages */
	struct {
		u32 pcid, epoch; /* of user code; 0: none */
		u64 pages[4];    /* a bit for each page that may have run since, by its number */
	} kept[EPOCH_PCIDS];
};

/* ---- translation context: what a block's meaning depends on besides its bytes -------------- */

#define CTX_MODE_MASK   0x3 /* 0: 16 bit, 1: 32 bit, 2: 64 bit */
#define CTX_16          0
#define CTX_32          1
#define CTX_64          2
#define CTX_CPL_SHIFT   2    /* bits 2..3 */
#define CTX_REAL        0x10 /* real mode */
#define CTX_SS32        0x20 /* stack pointer is 32 bits (legacy modes) */
#define CTX_NONFLAT     0x40 /* some of CS DS ES SS is not base 0, limit 4 GiB (legacy modes) */
#define CTX_AC          0x80 /* supervisor with SMAP on and EFLAGS.AC set, or SMAP off: TLB_KERNEL_AC */
#define CTX_NO_X87      0x100 /* CR0.EM or TS: x87 and MMX fault */
#define CTX_NO_SSE      0x200 /* EM, TS or no OSFXSR */
#define CTX_NO_AVX      0x400 /* no OSXSAVE, XCR0.AVX clear, or TS */
#define CTX_NO_AVX512   0x800
#define CTX_TF          0x1000 /* single-step trap after each instruction */
#define CTX_STEP        0x2000 /* one instruction a block */
#define CTX_SLOW        0x4000 /* one instruction, every access through access_slow() */
#define CTX_NOGROUP     0x8000 /* every access checks for itself; never in cpu->ctx */
/* A block of one instruction, to which run.c alone leads. */
#define CTX_SINGLE      (CTX_STEP | CTX_SLOW | CTX_TF)
#define CTX_ANY_FPU_OFF (CTX_NO_X87 | CTX_NO_SSE | CTX_NO_AVX | CTX_NO_AVX512)

/* ---- pending guest exception -------------------------------------------------------------- */

struct fault {
	u8 vector;
	u8 has_error;
	u8 soft;     /* INT n, INT3, INTO: pushes the next RIP, checks the gate's DPL */
	u8 external; /* interrupt or NMI: sets EXT in nested error codes */
	u32 error;
	u64 cr2;
};

/* A bounce buffer that must be written back after the instruction (CTX_SLOW blocks only). */
struct bounce {
	u8 data[512 + 64] __attribute__((aligned(64))); /* used from @gva modulo 64 */
	gva_t gva;                                      /* where it stands for */
	u16 size;                                       /* 0: none pending */
	u8 write;                                       /* write back after the instruction */
	u8 direct;  /* a code page was handed out itself: invalidate it after the instruction */
	gpa_t gpa;  /* of @direct, and of the first page's part */
	gpa_t gpa2; /* of the second page's part, if the access crosses */
};

/* A masked store that went through the bounce buffer (vector.c). */
struct masked {
	gva_t gva;
	u64 active; /* bit i: element i */
	u8 size, count, pending;
};

enum helper_result {
	HELPER_NEXT,   /* done, continue behind the instruction */
	HELPER_JUMP,   /* done, cpu->rip is set */
	HELPER_REPEAT, /* part of a string instruction done, registers say how far; run it again */
	HELPER_FAULT,  /* cpu->fault is set, cpu->rip unchanged */
	HELPER_HALT,   /* done (rip must move behind), the processor sleeps until an interrupt */
	HELPER_SHUTDOWN,
};

struct site;

enum cpu_stat {
	STAT_BLOCKS,
	STAT_INSNS,
	STAT_LOOKUPS,
	STAT_TLB_FILLS,
	STAT_SLOW,
	STAT_MADE, /* accesses across pages and to pages with code, made without leaving the block
		    */
	STAT_HELPERS,
	STAT_FAULTS,
	STAT_INTERRUPTS,
	STAT_POLLS,
	STAT_LINKS,
	STAT_SIGNALS,
	STAT_HALTS,
	STAT_NOGROUP,
	STAT_GUEST_BYTES,
	STAT_HOST_BYTES,
	STAT_TRANSLATION_TICKS, /* of the host's TSC */
	STAT_MMIO,
	STAT_PIO,
	STAT_MSR,
	STAT_INVALIDATIONS, /* writes that hit translated code */
	STAT_WOKEN,
	STAT_SAVED,       /* blocks taken from a file (saved.h), */
	STAT_SAVED_INSNS, /* ... their instructions, */
	STAT_SAVED_TICKS, /* ... what finding and making them took, of the host's TSC */
	STAT_SAVED_BAD,   /* ... and those that were not safe */
	STAT_UNSAVED,     /* translated blocks that cannot be written to one */
	STAT_COUNT
};

#define STAT_MNEMONICS 2048
#define STAT_SITES     16
#define STAT_VECTORS   32

#define FILL_STREAMS 4

struct cpu {
	/* -- first 256 bytes: in 8-bit reach of rbp. Offsets are asserted in lower.c. */
	u64 gpr[16];
	u64 page_base;        /* linear address of the guest page whose code runs */
	u32 jc_key;           /* jump_entry.ctx that matches now: epoch << 16 | ctx */
	u32 exit_request;     /* any thread: nonzero makes translated code leave at its next poll */
	u32 saved_flags;      /* arithmetic flags in LAHF form in bits 8..15, OF in bit 0 */
	u32 loop_end;         /* how long a loop goes round without a check (lower_carry.c) */
	u64 fs_base, gs_base; /* == sys.seg[].base; kept here for translated code */
	u64 code_base;        /* executable address of the code cache */
	u32 ctx;              /* current CTX_*, kept up to date by cpu_update_ctx() */
	u32 exit_code;        /* why translated code left: enum block_exit */
	u64 exit_arg;
	u32 tlb_mask[TLB_KINDS]; /* tlb[].mask times the size of an entry */
	struct stack_page stack[TLB_KINDS];
	/* -- end of the 8-bit reach (approximately) */
	u32 pauses_left; /* how many PAUSEs until the host's processor is given up */
	u64 scratch[4];
	u64 host_rsp;  /* C's stack while translated code runs */
	u64 shadow_sp; /* translated code's while C runs; 16-byte aligned */

	u64 rip;    /* valid outside translated code */
	u64 rflags; /* all bits; arithmetic ones valid outside translated code. DF lives here only
		     */

	/* Segments, tables, control and debug registers, MSRs. gpr, rip, rflags, xsave inside are
	 * unused while running; seg[FS/GS].base is mirrored in fs_base/gs_base (write both through
	 * seg_set_base()). */
	struct x86_segment seg[SEG_COUNT];
	struct x86_table gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, efer, xcr0;
	u64 dr[8];
	struct x86_msrs msr;
	u64 pdpte[4]; /* PAE: loaded with CR3 */
	u8 cpl;
	u8 intr_shadow;
	u8 nmi_masked;
	u8 activity; /* enum x86_activity */

	struct fault fault;
	u8 fault_pending;
	u8 fpu_loaded;
	s64 tsc_offset; /* guest TSC = host TSC + tsc_offset */

	struct cpu_vm *vm;
	unsigned index;

	/* any thread */
	u32 requests; /* enum cpu_request; whoever sets one also sets exit_request */
	u8 sipi_vector;

	struct bounce bounce;
	u8 xsave[X86_XSAVE_BYTES] __attribute__((aligned(64))); /* guest FPU while !fpu_loaded */
	u8 host_xsave[64]; /* unused space keeps xsave's neighbours off its lines */

	struct tlb tlb[TLB_KINDS];
	struct tlb_kept kept;
	gva_t streams[FILL_STREAMS]; /* a miss there goes on with one: mmu_fill() */
	unsigned next_stream;        /* which a new one replaces */
	struct jump_entry jc[JC_ENTRIES];

	struct epochs epochs;           /* code.c */
	u8 *shadow;                     /* the stacks' memory; see cpu_shadow_bottom() */
	u8 shadow_class;                /* which of them @shadow_sp is in: JC_KERNEL, JC_USER */
	u32 shadow_key[JC_CLASSES];     /* jc_key that the frames on each are good for */
	u64 shadow_resting[JC_CLASSES]; /* @shadow_sp of the one not in use */
	struct decode_cache *decoded;
	struct site *link; /* run.c: a direct exit that waits for its target */
	u8 fault_delivered;
	u8 nogroup;            /* soft_mem_slow(): a group's check failed, its parts may not */
	u8 again;              /* a string instruction stopped half-way */
	u8 single_step;        /* #DB follows the block that runs, unless its instruction objects */
	u8 stepping;           /* enum cpu_stepping: cpu_step() runs */
	u32 in_code;           /* any thread reads: enum code_presence (code.h) */
	u64 stats[STAT_COUNT]; /* what stats.c shows: */
	u64 helper_counts[STAT_MNEMONICS]; /* calls, by ZydisMnemonic */
	u64 exit_counts[STAT_SITES];       /* of translated code, by enum site_kind */
	u64 exception_counts[STAT_VECTORS];
	struct masked masked;
	u64 ud_rip;    /* run.c: where the host last refused an instruction */
	u8 split_lock; /* run.c: the others are stopped for a locked access across a page */
	u32 exclusive_depth;

	/* fpu.c: a private copy of a guest's XSAVE or FXSAVE area while it is checked */
	u8 fpu_area[X86_XSAVE_BYTES] __attribute__((aligned(64)));
};

/* A guest that waits for another of its processors in a loop of PAUSEs, 10 to 20 us long by then,
 * may wait for one that the host has taken off its processor. */
#define PAUSES_MAX 512

enum cpu_stepping { STEPPING_NOT, STEPPING_INSN, STEPPING_BLOCK };

/* ---- guest RAM ------------------------------------------------------------------------------ */

#define CPU_SLOTS        32
/* ram_slot.info[page]: */
#define PAGE_HAS_CODE    0x80000000u /* translations were made from this page */
#define PAGE_REWRITTEN   0x40000000u /* some of them were overwritten, once */
#define PAGE_WRITES_ONE  0x00010000u /* counts writes since then, bits 16..29 */
#define PAGE_WRITES_MASK 0x3fff0000u
#define PAGE_WRITERS     0x0000ffffu
#define PAGE_WRITER_BITS 16
#define PAGE_WRITER(index) \
	(1u << ((index) % PAGE_WRITER_BITS)) /* that processor may hold a write tag for it */

struct ram_slot {
	gpa_t gpa;
	u64 bytes; /* 0: unused */
	u8 *hva;
	u32 flags;
	u32 *info;  /* one per page, atomically changed, lazily touched */
	u64 *dirty; /* a bit a page, atomically changed; NULL until somebody asks: dirty.c */
};

struct code_cache;
struct site;

struct cpu_vm {
	struct cpu_vm_config config;
	struct ram_slot slots[CPU_SLOTS];
	unsigned slot_count; /* slots in use are [0, slot_count), sorted by use is not promised */
	struct cpu **cpus;   /* config.cpus entries, NULL until created */
	struct cpu_cpuid *cpuid;
	size_t cpuid_count;
	u64 tsc_hz;
	u64 xcr0_mask;   /* components the guest may enable: x87|SSE|AVX(|AVX-512) the host has */
	u32 xsave_bytes; /* standard-format size for xcr0_mask */
	struct code_cache *code; /* translate.c */
	struct cpu_bus bus;      /* the caller's; config.bus wraps it (vm.c) */
	/* Changed in exclusive sections: */
	u8 logging;     /* written pages are noted in ram_slot.dirty: dirty.c */
	u32 tags_taken; /* how often one thread has taken write tags of other processors */

	/* cpuid.c: fixed after cpuid_init() */
	u64 features[FEATURE_WORDS]; /* bits by enum cpu_feature: what the guest is offered */
	u8 vendor_amd; /* AMD or Hygon; else Intel's choices are made where the manuals differ */
	u8 maxphyaddr;
	u32 mxcsr_mask; /* bits of MXCSR that exist on the host */
	u64 arch_caps;  /* IA32_ARCH_CAPABILITIES, if offered */
	u64 tsc_base;   /* host TSC at which the guest's TSC and kvm-clock read 0 */
};

static inline bool vm_has(const struct cpu_vm *vm, enum cpu_feature feature)
{
	return vm->features[feature / 64] >> (feature % 64) & 1;
}

/* hva of @gpa if RAM for a whole page-bounded access, else NULL; @slot may be NULL. Inline: hot. */
static inline u8 *ram_ptr(const struct cpu_vm *vm, gpa_t gpa, const struct ram_slot **slot)
{
	for (unsigned i = 0; i < vm->slot_count; i++) {
		const struct ram_slot *s = &vm->slots[i];

		if (gpa - s->gpa < s->bytes) {
			if (slot)
				*slot = s;
			return s->hva + (gpa - s->gpa);
		}
	}
	return NULL;
}

static inline u64 dirty_words(const struct ram_slot *slot)
{
	return (slot->bytes / PAGE_SIZE + 63) / 64;
}

/* A processor has written, or from now on may write, @gpa's page of @slot: dirty.c. */
static inline void dirty_note(const struct cpu_vm *vm, const struct ram_slot *slot, gpa_t gpa)
{
	u64 page = (gpa - slot->gpa) >> PAGE_SHIFT;

	if (unlikely(vm->logging) &&
	    !(__atomic_load_n(&slot->dirty[page / 64], __ATOMIC_SEQ_CST) >> page % 64 & 1))
		__atomic_fetch_or(&slot->dirty[page / 64], BIT(page % 64), __ATOMIC_SEQ_CST);
}

/* ---- mmu.c (hot) ---------------------------------------------------------------------------- */

#define ACCESS_R 1
#define ACCESS_W 2
#define ACCESS_X 4
#define ACCESS_SYSTEM                                                                            \
	8               /* implicit supervisor access (descriptor tables, TSS), whatever the CPL \
			 */
#define ACCESS_PROBE 16 /* no fault is recorded, accessed and dirty are not set */

/* Translates a linear address under the current mode. False: cpu->fault is set (#PF with the
 * right error code and CR2, or #GP/#SS for a non-canonical one). Sets A and D as the access says.
 */
bool mmu_translate(struct cpu *cpu, gva_t gva, unsigned access, gpa_t *gpa);
/* Slow path of an inline check: makes the access legal in the TLB of the current context. Returns
 * the host address of @gva; NULL with cpu->fault_pending 0: not direct (MMIO, ROM, page-crossing,
 * code page): the instruction must run in a CTX_SLOW block; NULL with fault_pending 1: fault. */
void *mmu_fill(struct cpu *cpu, gva_t gva, unsigned size, unsigned access);
/* An access of @size (1 to 64) bytes of RAM that mmu_fill() gives no address for: a read across
 * pages into a buffer, whose address is returned (the processor's, good until the next access that
 * bounces), or a write of @store. NULL: as mmu_fill(). */
void *access_make(struct cpu *cpu, gva_t gva, unsigned size, unsigned access, const void *store);
/* CTX_SLOW: a host pointer for one access of @size (<= 512) bytes, bounced if it must be; the
 * address is congruent to @gva modulo 64. NULL: fault set. */
void *access_slow(struct cpu *cpu, gva_t gva, unsigned size, unsigned access);
/* After the instruction: writes the bounce buffer back. May call MMIO. */
void access_commit(struct cpu *cpu);
/* Physical page of code at @gva for execution; false: fault. Fills exec_tag. */
bool mmu_fetch_page(struct cpu *cpu, gva_t gva, gpa_t *page, u8 **host);
/* Helpers' accessors: linear addresses, any alignment, MMIO and code pages handled. */
bool mem_read(struct cpu *cpu, gva_t gva, void *data, unsigned size, unsigned access);
bool mem_write(struct cpu *cpu, gva_t gva, const void *data, unsigned size, unsigned access);
/* Checks that a write of @size at @gva would succeed (both pages). */
bool mem_probe(struct cpu *cpu, gva_t gva, unsigned size, unsigned access);
/* Atomically sets @bits in a byte of a system structure (accessed and busy bits). */
bool mem_or_byte(struct cpu *cpu, gva_t gva, u8 bits, unsigned access);
/* Is the code page at @gva, just fetched, mapped global? */
bool mmu_fetched_global(struct cpu *cpu, gva_t gva);
/* Loads the four PDPTEs of legacy PAE paging from CR3 (APM vol. 2 section 5.2.3). False: a reserved
 * bit is set: the caller raises #GP(0). */
bool mmu_load_pdptes(struct cpu *cpu);

/* ---- tlb.c (hot) ----------------------------------------------------------------------------- */

/* Makes every tag of a new processor, whose memory is zero, invalid. */
void tlb_init(struct cpu *cpu);
/* Each of these also drops what may be stale of the jump cache. */
void tlb_flush_all(struct cpu *cpu);
void tlb_flush_nonglobal(struct cpu *cpu);
void tlb_flush_page(struct cpu *cpu, gva_t gva);
/* After a write to CR3, which is in place. @keep: the new PCID's translations are still good. */
void tlb_switch(struct cpu *cpu, bool keep);
/* Drops the write tags of the page at host address @host (it got code). */
void tlb_revoke_write(struct cpu *cpu, const void *host);
/* Drops those of all pages at @host and the @bytes behind. */
void tlb_revoke_writes(struct cpu *cpu, const u8 *host, u64 bytes);
/* The entry @e for the page at @gva, of a guest's page of 1 << @shift bytes, takes its place; who
 * has that is put aside. */
struct tlb_entry *tlb_insert(struct tlb *tlb, gva_t gva, const struct tlb_entry *e, u8 shift,
			     bool global);
/* Makes the TLB four times as large, and empty, if more pages have displaced others than it has
 * places. Not while somebody holds one of its entries; pointers that it has handed out stay good.
 */
void tlb_fit(struct cpu *cpu, struct tlb *tlb);
/* An entry for @gva among those that were put aside takes its place again, and who has that goes
 * there: arrays walked together miss in turn. NULL: there is none. */
struct tlb_entry *tlb_take_victim(struct tlb *tlb, gva_t gva, unsigned access);

/* ---- tlb_kept.c (hot) ------------------------------------------------------------------------ */

/* The entry @e that was found for @gva, a small page that is not global, for when the guest comes
 * back to this address space. */
void tlb_keep(struct cpu *cpu, enum tlb_kind kind, gva_t gva, const struct tlb_entry *e);
/* Puts what was kept of @gva into the TLB, if all of @access is allowed; NULL: walk. */
struct tlb_entry *tlb_take_kept(struct cpu *cpu, struct tlb *tlb, gva_t gva, unsigned access);
/* After a write to CR3, as tlb_switch(). */
void tlb_kept_switch(struct cpu *cpu, bool keep);
void tlb_kept_forget(struct cpu *cpu); /* of all PCIDs */
void tlb_kept_forget_pcid(struct cpu *cpu, unsigned pcid);
void tlb_kept_forget_page(struct cpu *cpu, gva_t gva); /* of the current PCID */
void tlb_kept_forget_writes(struct cpu *cpu);

/* ---- event.c (hot) --------------------------------------------------------------------------- */

void fault(struct cpu *cpu, unsigned vector); /* without error code */
void fault_error(struct cpu *cpu, unsigned vector, u32 error);
void fault_page(struct cpu *cpu, gva_t gva, u32 error);
/* Delivers cpu->fault (clears fault_pending) through the IDT at cpu->rip (for soft events: the RIP
 * behind the instruction must already be in cpu->rip). Handles contributory faults: #DF, and false
 * for a triple fault (shutdown). */
bool event_deliver(struct cpu *cpu);
/* Takes @vector as an external interrupt, or NMI with vector 2. False: shutdown. */
bool event_interrupt(struct cpu *cpu, unsigned vector);

/* ---- seg.c, sys.c, ... (helpers) --------------------------------------------------------------
 */

/* Linear address of the explicit memory operand for an access of @size bytes (MEM_R, MEM_W), with
 * the checks of the mode. False: a fault is pending. */
bool insn_linear(struct cpu *cpu, const struct insn *insn, unsigned size, unsigned access,
		 gva_t *linear);
/* Executes @insn (decoded at cpu->rip) in C. All kinds that the rows send to helpers. */
enum helper_result helper_execute(struct cpu *cpu, const struct insn *insn);
void seg_set_base(struct cpu *cpu, enum x86_seg seg, u64 base);
/* Recomputes cpu->ctx (mode, CPL, AC, FPU bits, TF; keeps CTX_STEP). After anything it depends on.
 */
void cpu_update_ctx(struct cpu *cpu);

/* ---- string.c, msr.c, cpuid.c -------------------------------------------------------------------
 */

/* MOVS STOS LODS SCAS CMPS with their prefixes, in page-sized pieces (hot). */
enum helper_result string_execute(struct cpu *cpu, const struct insn *insn);
/* RDMSR and WRMSR without the privilege check (cold). False: the caller raises #GP(0). */
bool msr_read(struct cpu *cpu, u32 index, u64 *value);
bool msr_write(struct cpu *cpu, u32 index, u64 value);
/* What CPUID answers: eax, ebx, ecx, edx (hot). */
void cpuid_query(const struct cpu *cpu, u32 leaf, u32 subleaf, u32 out[4]);
/* Guest TSC now (hot). */
static inline u64 cpu_tsc(const struct cpu *cpu)
{
	return __builtin_ia32_rdtsc() + cpu->tsc_offset;
}

/* ---- vector.c (hot) -----------------------------------------------------------------------------
 */

/* Gathers, scatters, byte-masked stores, x87 environment. */
enum helper_result vector_execute(struct cpu *cpu, const struct insn *insn);
/* access_slow() and access_commit() for an operand whose mask may switch elements off. */
void *masked_access(struct cpu *cpu, const struct insn *insn, gva_t gva);
void masked_commit(struct cpu *cpu);
/* The lowest @bytes of the host's vector register @reg (0 to 15) -> @to, which has room for 32. */
void vector_live(unsigned reg, unsigned bytes, void *to);

/* ---- fpu.c ------------------------------------------------------------------------------------
 */

void fpu_enter(struct cpu *cpu); /* guest FPU state into the registers; saves nothing of the host */
/* FXSAVE, XSAVE and their kin, XGETBV, XSETBV (hot). */
enum helper_result fpu_execute(struct cpu *cpu, const struct insn *insn);
/* Has the guest an unmasked x87 exception pending? Only while its state is loaded. */
static inline bool x87_pending(void)
{
	u16 status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status & 0x80;
}
void fpu_leave(struct cpu *cpu); /* and back to cpu->xsave; loads default control words. No-op if
				    not loaded */

/* ---- translate.c: called by mmu.c after a write to a page with PAGE_HAS_CODE -------------------
 */

void code_written(struct cpu_vm *vm, gpa_t gpa, unsigned bytes);
/* After anything that changes address translation: the jump cache is stale... */
void code_jumps_flush(struct cpu *cpu);
/* ...at one linear address of the current address space, perhaps in a @large page, */
void code_jumps_flush_page(struct cpu *cpu, gva_t gva, bool large);
/* Code of the lower half runs at @pc: flushing its page is to be heard of. */
void code_jumps_note(struct cpu *cpu, gva_t pc);
/* ...or because there is a new one, whose entries may be kept if @keep. */
void code_jumps_switch(struct cpu *cpu, bool keep);

/* May there be entries of the jump cache of this epoch that are still good, or will be again? */
bool code_epoch_lives(const struct cpu *cpu, u32 epoch);

static inline enum jc_class cpu_class(const struct cpu *cpu)
{
	return cpu->cpl == 3 ? JC_USER : JC_KERNEL;
}
static inline u32 cpu_jump_key(const struct cpu *cpu)
{
	return cpu->epochs.now[cpu_class(cpu)] << 16 | (cpu->ctx & 0xffff);
}

/* The stacks of translated code, one a class, each with a guard page at its low end. */
#define SHADOW_STRIDE (PAGE_SIZE + SHADOW_BYTES)
/* Where a shadow stack is empty: there lies the address of thunks.return_empty. */
static inline u64 cpu_shadow_bottom(const struct cpu *cpu, enum jc_class class)
{
	return (u64)(uintptr_t)cpu->shadow + (class + 1) * SHADOW_STRIDE - 64;
}

static inline bool cpu_long_mode(const struct cpu *cpu)
{
	return cpu->efer & EFER_LMA;
}
static inline bool cpu_64bit(const struct cpu *cpu)
{
	return (cpu->efer & EFER_LMA) && (cpu->seg[SEG_CS].attr & SEG_ATTR_L);
}

#endif
