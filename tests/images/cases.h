/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases: what a piece of code does to a processor, and what the manuals say it has to do.
 *
 *   CODE(load, , "movb (%rax), %al", )           a piece: before, the instruction in question,
 * after begin("pf/read", "");                        a case, and the rows of rows.txt that it
 * covers in.rax = TEST(5);                            registers to begin with (the rest are as
 * in_reset()) run_kernel(load);                            or run_user(), run_compat(),
 * run_user_compat() trapped(14, 0, load_at);                     vector, error code, RIP
 *   check("cr2", trap.cr2, TEST(5));
 *   end();                                       prints "ok pf/read" or what was wrong
 *
 * Sections are those of the SDM (order 325462), volume 3 unless said, and of the APM volume 2.
 */
#ifndef LODGE_TESTS_IMAGES_CASES_H
#define LODGE_TESTS_IMAGES_CASES_H

#define IN_RSP    120
#define IN_RIP    128
#define IN_RFLAGS 136
#define IN_CS     144
#define IN_SS     152
#define IN_DS     160
#define IN_BYTES  168

#define TRAP_VECTOR        0
#define TRAP_ERROR         8
#define TRAP_RIP           16
#define TRAP_CS            24
#define TRAP_RFLAGS        32
#define TRAP_RSP           40
#define TRAP_SS            48
#define TRAP_CR2           56
#define TRAP_HANDLER_RSP   64
#define TRAP_HANDLER_FLAGS 72
#define TRAP_DS            80
#define TRAP_ES            82
#define TRAP_HANDLER_SS    84
#define TRAP_HANDLER_CS    86
#define TRAP_BYTES         88

#ifndef __ASSEMBLER__
#include "image.h"

struct registers {
	u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	u64 rsp, rip, rflags, cs, ss, ds;
};
extern struct registers in, out; /* out: the general registers only, without RSP */

extern struct {
	u64 vector;
	s64 error; /* -1: none was pushed */
	u64 rip, cs, rflags, rsp, ss;
	u64 cr2, handler_rsp, handler_flags;
	u16 ds, es, handler_ss, handler_cs;
} trap;

extern char kernel_stack_top[], user_stack_top[], rsp0_stack_top[], ist_stack_top[];
extern char trap_stubs[], syscall_entry[], cstar_entry[], sysenter_entry[];

#define NO_ERROR (-1)
#define DONE     0x40 /* the vector that ends a piece */

#define CODE_WIDTH(width, name, before, at, after)                                              \
	__asm__(".pushsection .text\n.code" #width "\n" #name ": " before "\n" #name "_at: " at \
		"\n" #name "_end: " after "\nint $0x40\n.code64\n.popsection");                 \
	extern char name[], name##_at[], name##_end[]
#define CODE(name, before, at, after)   CODE_WIDTH(64, name, before, at, after)
#define CODE32(name, before, at, after) CODE_WIDTH(32, name, before, at, after)

/* User code and data see the image here; the kernel sees it where it is linked. */
#define USER_OFFSET   0x40000000ull
#define USER(pointer) ((u64)(pointer) + USER_OFFSET)

/* A region of single pages whose tables belong to the cases. */
#define TEST(page) (0x80000000ull + (page)*4096ull)
#define TEST_PAGES 16 /* have memory behind them */
#define PTE_P      1ull
#define PTE_W      2ull
#define PTE_U      4ull
#define PTE_A      0x20ull
#define PTE_D      0x40ull
#define PTE_PS     0x80ull
#define PTE_G      0x100ull
#define PTE_NX     (1ull << 63)
extern u64 *test_pde, test_pt[512];
extern u8 test_memory[TEST_PAGES][4096];
/* Maps page @page of the region to its memory with @flags (0: not present), the upper levels open.
 */
void test_map(unsigned page, u64 flags);
void test_reset(void); /* all pages present, writable and user's; memory zero */

#define FLAG_CF   0x1ull
#define FLAG_PF   0x4ull
#define FLAG_AF   0x10ull
#define FLAG_ZF   0x40ull
#define FLAG_SF   0x80ull
#define FLAG_TF   0x100ull
#define FLAG_IF   0x200ull
#define FLAG_DF   0x400ull
#define FLAG_OF   0x800ull
#define FLAG_IOPL 0x3000ull
#define FLAG_NT   0x4000ull
#define FLAG_RF   0x10000ull
#define FLAG_AC   0x40000ull
#define FLAG_ID   0x200000ull

/* frame.c */
void frame_init(void);
void in_reset(void);
void run_kernel(const char *code);
void run_user(const char *code);
void run_compat(const char *code);
void run_user_compat(const char *code);
void begin(const char *name, const char *rows);
void end(void);
void skip(const char *name, const char *rows, const char *why);
void check(const char *what, u64 got, u64 want);
void trapped(u64 vector, s64 error, const void *rip);
void finished(void); /* the piece ran to its end */
void plan_end(void); /* prints the number of cases */

/* Gate @vector: to its stub with @dpl and @ist; type 0xe or 0xf; 0: not present. */
void gate_set(unsigned vector, unsigned type, unsigned dpl, unsigned ist);
/* Descriptor @index (from 8) of the GDT; the selector. */
u16 gdt_set(unsigned index, u64 descriptor);
#define DESCRIPTOR(base, limit, access, flags)                                        \
	(((u64)(limit)&0xffff) | ((u64)(base)&0xffffff) << 16 | (u64)(access) << 40 | \
	 ((u64)(limit) >> 16 & 15) << 48 | (u64)(flags) << 52 | ((u64)(base) >> 24 & 0xff) << 56)

struct tss {
	u32 reserved;
	u64 rsp[3], reserved2, ist[7], reserved3;
	u16 reserved4, iomap;
	u8 map[0x90];
} __attribute__((packed));
extern struct tss tss;
#define SEL_TSS 0x40 /* two entries; cases use the GDT from index 10 */

struct table {
	u16 limit;
	u64 base;
} __attribute__((packed));
extern struct table idt_table, gdt_table;
bool cpu_is_amd(void);
bool cpu_is_tcg(void); /* QEMU's, which some refusals that it lacks would break */
bool cpu_has(u32 leaf, u32 subleaf, unsigned reg, unsigned bit);

/* One function a file, called by image_main(). */
void cases_exception(void);
void cases_branch(void);
void cases_paging(void);
void cases_pcid(void);
void cases_instruction(void);
void cases_segment(void);
void cases_syscall(void);
void cases_debug(void);
void cases_system(void);
void cases_fpu(void);
#endif
#endif
