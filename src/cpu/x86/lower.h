/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lowering: from decoded guest instructions to host code, one block at a time.
 * translate.c decodes and owns the memory; lower.c writes the bytes.
 */
#ifndef LODGE_CPU_X86_LOWER_H
#define LODGE_CPU_X86_LOWER_H

#include "cpu/vcpu.h"
#include "cpu/x86/asm.h"

#define BLOCK_MAX_INSNS  48
#define BLOCK_MAX_MAPS   (BLOCK_MAX_INSNS * 2)
#define BLOCK_MAX_SITES  (BLOCK_MAX_INSNS * 4 + 8)
#define BLOCK_MAX_PLACES (BLOCK_MAX_SITES * 4)
#define BLOCK_MIN_CODE   32    /* room for code.c to overwrite an entry */
#define BLOCK_MAX_CODE   16384 /* bytes reserved before a block is lowered */

/* Why translated code left. Values from EXIT_SITE on name a site. */
enum block_exit {
	EXIT_NONE,
	EXIT_JUMP,   /* exit_arg: RIP to continue at, not in the jump cache (or a poll) */
	EXIT_RETURN, /* as EXIT_JUMP, of a return whose site (SITE_BRANCH) scratch[3] names */
	EXIT_STALE,  /* not good (any more) for this address: exit_arg (32 bits) is the block's page
		      * offset; the jump cache forgets it */
	EXIT_SIGNAL, /* a host signal: scratch[2] host pc, scratch[3] its flags, exit_arg the signal
		      */
	EXIT_SITE = 16,
};

enum site_kind {
	SITE_LINK, /* direct exit to @guest_off in the same page, @patch may be bound to a block */
	SITE_POLL, /* exit request seen; continue at @guest_off */
	SITE_MEM,  /* slow path of an access check */
	SITE_SLOW, /* access of a CTX_SLOW block */
	SITE_HELPER, /* the instruction at @guest_off is executed in C */
	SITE_UD,     /* ... raises #UD */
	SITE_FPU,    /* ... raises #NM or #UD as the control bits say */
	SITE_ALT,    /* a group's check failed for good: bound to the block's CTX_NOGROUP twin */
	SITE_RETURN, /* @patch is where a call's return lands */
	SITE_ALONE,  /* the instruction at @guest_off is to run again as a block of its own */
	SITE_BRANCH, /* the branch at @guest_off wants to go to exit_arg, which the jump cache does
		      * not know */
	SITE_CALL,   /* the call at @guest_off is refused: C executes it; @patch: where it goes on
			else */
	SITE_NEXT,   /* end of a CTX_STEP or CTX_SLOW block; continue at @guest_off */
};

/* site.store */
#define STORE_GPR    0x10
#define STORE_VECTOR 0x20

enum flags_form { FLAGS_HOST, FLAGS_SAVED, FLAGS_BOTH, FLAGS_DEAD };

struct block;
struct footprint;
struct footprint_draft;

/* A place where translated code can leave. */
struct site {
	struct block *block;
	u8 kind; /* enum site_kind */
	u8 form; /* enum flags_form at the exit */
	u8 access, align;
	u16 size;         /* SITE_MEM, SITE_SLOW: bytes */
	s16 own;          /* SITE_MEM of a group: the instruction's bytes begin here in it;
			   * SITE_CALL: guest RSP is SP plus this */
	u16 span;         /* ... and its bytes; 0: no group */
	u8 masked : 1;    /* insn.masked */
	u8 locked : 1;    /* the access is atomic */
	u8 x87 : 1;       /* insn.x87_waits */
	u8 store;         /* SITE_MEM: the instruction stores this register and does nothing else:
			   * STORE_GPR or STORE_VECTOR plus its number; 0: it does not */
	u8 seg;           /* SITE_SLOW: enum x86_seg */
	u8 insn;          /* index of the guest instruction in the block */
	u8 flips;         /* LINK: what of CTX_AC the block has changed before it */
	s32 guest_off;    /* page-relative; a link's target may be outside 0..4095 never */
	u32 patch;        /* cache offset of the rel32 field (LINK), resume address (MEM) */
	u32 stub;         /* cache offset of the unresolved exit (LINK), of what follows (@store) */
	u32 tag_off;      /* SITE_MEM: struct cpu offset of the tag column of the TLB; SITE_BRANCH:
			   * guest RSP has moved by this */
	struct block *to; /* LINK: bound to */
	struct site *next_in; /* next site bound to the same block */
};

struct host_map {
	u16 host;  /* offset from the block's first byte */
	u16 guest; /* page offset; bit 15: flags are in host form there */
	s16 rsp;   /* guest RSP is SP plus this */
};

struct block {
	gpa_t page;  /* guest physical page */
	gpa_t page2; /* second page of a page-crossing instruction, or ~0 */
	u16 off;     /* of the first instruction in the page */
	u8 insns;
	u8 maps; /* more than @insns: some are there twice */
	u8 valid;
	u32 ctx;
	u64 lines; /* 64-byte lines of the page whose bytes it depends on */
	u64 lines2;
	u16 bytes;      /* of guest code in the first page */
	u8 first_bytes; /* length of the first instruction */
	u64 sum;        /* cpu_vm_config.check_blocks: of the guest bytes */
	u32 code;       /* cache offset of the first byte */
	u32 code_end;
	u32 entry_host;  /* entry with the flags in EFLAGS */
	u32 entry_saved; /* entry with the flags in cpu->saved_flags */
	u32 entry_found; /* the same for run.c, which has looked at @page2 itself */
	u8 saved;        /* it comes from cpu_vm_config.saved_code */
	u8 recorded;     /* @places is complete: it can be written there */
	u16 last_off;    /* page offset of @last */
	u32 places;      /* index of the first of @place_count; lowering.places */
	u16 place_count;
	u8 prefers; /* FLAGS_HOST, FLAGS_SAVED or FLAGS_DEAD: which entry is the straight one */
	u32 sites, site_count; /* index of the first site */
	struct site *in;       /* sites bound to this block */
	struct block *hash_next;
	struct block *page_next, *page2_next;
	struct host_map *map;        /* @maps entries, by host offset */
	struct insn *last;           /* the instruction of a SITE_HELPER, else NULL */
	struct footprint *footprint; /* NULL: not to be woken once it is invalid (dormant.h) */
};

/* The common code at the start of the cache. Offsets from the cache's base. */
struct thunks {
	u32 enter;     /* void enter(struct cpu *, void *code) */
	u32 exit_host; /* flags in EFLAGS: saves them, then */
	u32 exit_saved;
	u32 mem; /* slow path of a check: calls soft_mem_slow() */
	/* called, one for each TLB: T0 is an address minus cpu->stack[].tag. If the TLB has its
	 * page, at most scratch[1] bytes into it, that becomes cpu->stack[], T0 the host address,
	 * and the flags say "below or equal"; else T0 and T1 are as @mem wants them. */
	u32 stack[TLB_KINDS];
	u32 slow;        /* called: one access of a CTX_SLOW block */
	u32 exit_signal; /* the signal handler's way out */
	u32 jump;        /* T0: RIP to continue at, not in the jump cache */
	u32 branch;      /* the same for a SITE_BRANCH */
	u32 jump_return; /* the same for a return, whose site T2 names */
	u32 call_miss;   /* called: T0 is the target of a SITE_CALL, not in the jump cache */
	u32 call_late;   /* what is called then */
	u32 syscall; /* T0: RIP behind it. Executes SYSCALL, or leaves for the exit code stored */
	u32 sysret;  /* the same for SYSRET to 64-bit code */
	u32 lookup;  /* T0: RIP to continue at, flags saved; T2: site of the return */
	u32 return_empty; /* at the bottom of cpu->shadow */
	u32 return_stale; /* a return to a block that is no more */
};

/* A field of four bytes in the translation that depends on where it stands: the offset from the
 * block's first byte, and what it is. Both kinds are whole instructions' last bytes. */
#define PLACE_THUNK         0      /* distance of a thunk */
#define PLACE_SITE          0x8000 /* EXIT_SITE + number of a site */
#define PLACE_OFFSET(place) ((place)&0x7fff)

struct lowering {
	struct code_buf *buf;
	const struct thunks *thunks;
	struct block *block;      /* page, off, ctx set by the caller; the rest is filled here */
	const struct insn *insns; /* @count decoded instructions */
	unsigned count;
	const u8 *host2;                /* host address of block->page2 */
	u16 guest[BLOCK_MAX_INSNS + 1]; /* page offset of each instruction and of the end */
	u8 live_after[BLOCK_MAX_INSNS]; /* FL_* the successors of each may read */
	u8 live_taken[BLOCK_MAX_INSNS]; /* FL_* live at a branch's target */
	struct site *sites;             /* room for BLOCK_MAX_SITES */
	unsigned site_count;
	u32 first_site;                    /* global index of sites[0] */
	unsigned plain;                    /* enum cpu_plain */
	struct footprint_draft *footprint; /* NULL: none is wanted */
	u16 *places;                       /* room for BLOCK_MAX_PLACES; NULL: not wanted */
	unsigned place_count;
};

/* Writes the thunks; @mem and @slow are the C functions behind them. */
void lower_thunks(struct code_buf *buf, struct thunks *thunks);
/* Lowers one block. */
void lower_block(struct lowering *l);
/* May other blocks and the jump cache lead to a block that crosses into a second page? It looks
 * then whether the address space still has that page there. */
static inline bool block_checks_page2(const struct block *block)
{
	return (block->ctx & CTX_MODE_MASK) == CTX_64;
}
/* Writes the way out of a block at page offset @off that must not be entered: EXIT_STALE. At most
 * BLOCK_MIN_CODE bytes; flags saved. */
void emit_stale(struct code_buf *b, const struct thunks *thunks, u16 off);
/* STAC and CLAC: inline, and what follows is a block of another context. */
bool insn_changes_context(const struct insn *insn);
/* SYSCALL and SYSRET. */
bool insn_changes_ring(const struct insn *insn);
/* Does the block end after this instruction whatever follows? */
bool insn_ends_block(const struct insn *insn);
/* Decided from the instruction alone: C executes it. */
bool insn_needs_helper(const struct insn *insn);

/* JMP, CALL, RET, Jcc, LOOP, JCXZ: C executes it (near.c) in blocks of one instruction, and some of
 * them always. */
bool insn_is_near_branch(const struct insn *insn);
/* May C execute it: always, or where its lowering does not? */
bool insn_has_helper(const struct insn *insn);

/* run.c: called from the thunks (general registers only). */
void *soft_mem_slow(struct cpu *cpu);
void *soft_access_slow(struct cpu *cpu);

#endif
