/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control registers, model-specific registers, CPUID, time, and ports with their permission bitmap.
 * SDM 2.5, 2.8, 4.1, 5.9 and vol. 1 19.5; the instructions: vol. 2.
 */
#include "cases.h"

CODE(read_cr0, "", "mov %cr0, %rcx", "");
CODE(read_cr3, "", "mov %cr3, %rcx", "");
CODE(read_cr1, "", ".byte 0x0f, 0x20, 0xc8", "");
CODE(write_cr5, "", ".byte 0x0f, 0x22, 0xe8", "");
CODE(write_cr0, "", "mov %rax, %cr0", "");
CODE(write_cr3, "", "mov %rax, %cr3", "");
CODE(write_cr4, "", "mov %rax, %cr4", "");
CODE(write_cr8, "", "mov %rax, %cr8", "");
CODE(load_word, "", "lmsw %ax", "");
CODE(clear_ts, "", "clts", "");
CODE(read_msr, "", "rdmsr", "");
CODE(write_msr, "", "wrmsr", "");
CODE(identify, "", "cpuid", "");
CODE(count_ticks, "", "rdtsc", "");
CODE(count_ticks_p, "", "rdtscp", "");
CODE(count_events, "", "rdpmc", "");
CODE(invalidate, "", "invd", "");
CODE(write_back, "", "wbinvd", "");
CODE(out_byte, "", "out %al, $0x80", "");
CODE(out_word, "", "out %ax, %dx", "");
CODE(out_dword, "", "out %eax, %dx", "");
CODE(out_byte_dx, "", "out %al, %dx", "");
CODE(in_byte, "", "in $0x80, %al", "");
CODE(in_dword, "", "in %dx, %eax", "");
CODE(out_string, "", "outsb", "");
CODE(read_pid, "", "rdpid %rcx", "");
CODE(read_bases, "", "rdgsbase %rcx; rdfsbase %rdx", "");
CODE(write_fs, "", "wrfsbase %rcx", "");
CODE(write_gs, "", "wrgsbase %rcx", "");
CODE(write_gs32, "", "wrgsbase %ecx", "");

#define EFER         0xc0000080
#define TSC_AUX      0xc0000103
#define FS_BASE      0xc0000100
#define GS_BASE      0xc0000101
#define NONCANONICAL 0x8000000000000000ull

static void refuses(const char *code, const char *at, u64 rax)
{
	in.rax = rax;
	run_kernel(code);
	trapped(13, 0, at);
}

static void control_registers(void)
{
	const u64 cr0 = READ_CR(0), cr3 = READ_CR(3), cr4 = READ_CR(4);
	u32 id[4];

	begin("control/is-the-kernels", "lmsw clts invd wbinvd");
	run_user(read_cr0);
	trapped(13, 0, read_cr0_at);
	run_user(write_cr3);
	trapped(13, 0, write_cr3_at);
	run_user(load_word);
	trapped(13, 0, load_word_at);
	run_user(clear_ts);
	trapped(13, 0, clear_ts_at);
	run_user(invalidate);
	trapped(13, 0, invalidate_at);
	run_user(write_back);
	trapped(13, 0, write_back_at);
	run_kernel(write_back);
	finished();
	end();
	begin("control/no-such-register", "");
	run_kernel(read_cr1);
	trapped(6, NO_ERROR, read_cr1_at);
	run_kernel(write_cr5);
	trapped(6, NO_ERROR, write_cr5_at);
	run_user(read_cr1);
	trapped(6, NO_ERROR, read_cr1_at);
	end();
	if (cpu_is_tcg()) {
		skip("control/cr0", "", "TCG takes them, and is lost");
	} else {
		begin("control/cr0", "");
		refuses(write_cr0, write_cr0_at, cr0 & ~1ull); /* PG without PE */
		refuses(write_cr0, write_cr0_at,
			(cr0 & ~0x40000000ull) | 0x20000000); /* NW, no CD */
		refuses(write_cr0, write_cr0_at, cr0 | 1ull << 32);
		refuses(write_cr0, write_cr0_at, cr0 & ~0x80000000ull); /* PG off in 64-bit mode */
		check("unchanged", READ_CR(0), cr0);
		in.rax = cr0 & ~0x10ull; /* ET is always on */
		run_kernel(write_cr0);
		finished();
		check("ET", READ_CR(0), cr0 | 0x10);
		end();
	}
	begin("control/lmsw", "lmsw smsw");
	in.rax = 0xfff0 | 0xa; /* MP on, EM off, TS on; PE cannot go */
	run_kernel(load_word);
	finished();
	check("cr0", READ_CR(0), (cr0 & ~0xeull) | 0xa);
	WRITE_CR(0, cr0);
	end();
	begin("control/cr3", "");
	cpuid(0x80000008, 0, id);
	if ((id[0] & 0xff) < 52 && !cpu_is_tcg())
		refuses(write_cr3, write_cr3_at, cr3 | 1ull << 52);
	in.rax = cr3 | 0x18; /* PWT, PCD */
	run_kernel(write_cr3);
	finished();
	run_kernel(read_cr3);
	check("cr3", out.rcx, cr3 | 0x18);
	WRITE_CR(3, cr3);
	end();
	if (cpu_is_tcg()) {
		skip("control/cr4", "", "TCG takes them, and is lost");
	} else {
		begin("control/cr4", "");
		refuses(write_cr4, write_cr4_at, cr4 & ~0x20ull); /* PAE off in long mode */
		refuses(write_cr4, write_cr4_at, cr4 | 1ull << 63);
		refuses(write_cr4, write_cr4_at, cr4 | 1ull << 15);
		refuses(write_cr4, write_cr4_at, cr4 ^ 1ull << 12); /* LA57: not in 64-bit mode */
		check("unchanged", READ_CR(4), cr4);
		end();
	}
	begin("control/cr8", "");
	refuses(write_cr8, write_cr8_at, 16);
	in.rax = 9;
	run_kernel(write_cr8);
	finished();
	check("TPR", *(volatile u32 *)0xfee00080, 0x90);
	*(volatile u32 *)0xfee00080 = 0x35;
	check("cr8", READ_CR(8), 3);
	WRITE_CR(8, 0);
	end();
}

static void msr(const char *what, u32 index, u64 value)
{
	in.rcx = index;
	in.rax = (u32)value;
	in.rdx = value >> 32;
	run_kernel(write_msr);
	if (trap.vector != 13)
		check(what, trap.vector, 13);
	trapped(13, 0, write_msr_at);
}

static void model_specific(void)
{
	const u64 efer = rdmsr(EFER);

	begin("msr/is-the-kernels", "rdmsr wrmsr");
	in.rcx = EFER;
	run_user(read_msr);
	trapped(13, 0, read_msr_at);
	in.rcx = EFER;
	run_user(write_msr);
	trapped(13, 0, write_msr_at);
	end();
	begin("msr/no-such-register", "rdmsr wrmsr");
	in.rcx = 0xbadbad;
	run_kernel(read_msr);
	trapped(13, 0, read_msr_at);
	msr("write", 0xbadbad, 0);
	end();
	begin("msr/upper-halves", "rdmsr");
	in.rcx = EFER | 0xffffffffull << 32;
	in.rax = in.rdx = ~0ull;
	run_kernel(read_msr);
	finished();
	check("rax", out.rax, (u32)efer);
	check("rdx", out.rdx, efer >> 32);
	end();
	begin("msr/efer", "wrmsr");
	msr("reserved", EFER, efer | 1ull << 63);
	msr("reserved", EFER, efer | 1ull << 7);
	msr("LME while paging is on", EFER, efer & ~0x100ull);
	check("efer", rdmsr(EFER), efer);
	end();
	begin("msr/canonical", "wrmsr");
	msr("fs", FS_BASE, NONCANONICAL);
	msr("gs", GS_BASE, NONCANONICAL);
	msr("kernel gs", 0xc0000102, NONCANONICAL);
	wrmsr(FS_BASE, 0xffff800000000000);
	check("fs", rdmsr(FS_BASE), 0xffff800000000000);
	wrmsr(FS_BASE, 0);
	end();
	begin("msr/pat", "wrmsr");
	msr("type 2", 0x277, 0x0007040600070402);
	msr("reserved", 0x277, 0x0007040600070486);
	end();
	begin("msr/apic-base", "wrmsr");
	check("base", rdmsr(0x1b) & 0xfffff900, 0xfee00900); /* on, boot processor */
	msr("reserved", 0x1b, rdmsr(0x1b) | 1);
	end();
}

static void identity(void)
{
	u32 id[4];

	begin("cpuid/anyone", "cpuid");
	cpuid(0, 0, id);
	in.rax = in.rbx = in.rcx = in.rdx = 0xffffffff00000000;
	run_user(identify);
	finished();
	check("rax", out.rax, id[0]);
	check("rbx", out.rbx, id[1]);
	check("rcx", out.rcx, id[2]);
	check("rdx", out.rdx, id[3]);
	end();
	begin("cpuid/mirrors-osxsave", "cpuid");
	if (cpu_has(1, 0, 2, 26)) {
		check("off", cpu_has(1, 0, 2, 27), 0);
		WRITE_CR(4, READ_CR(4) | 1 << 18);
		check("on", cpu_has(1, 0, 2, 27), 1);
		WRITE_CR(4, READ_CR(4) & ~(1ull << 18));
	}
	end();
}

static u64 ticks(void)
{
	return out.rdx << 32 | out.rax;
}

static void time(void)
{
	const u64 cr4 = READ_CR(4);
	u64 first;

	begin("time/rdtsc", "rdtsc");
	in.rax = in.rdx = ~0ull;
	run_user(count_ticks);
	finished();
	check("upper halves", (out.rax | out.rdx) >> 32, 0);
	first = ticks();
	run_kernel(count_ticks);
	check("it goes on", ticks() > first, 1);
	end();
	begin("time/tsd", "rdtsc rdtscp");
	WRITE_CR(4, cr4 | 4);
	run_user(count_ticks);
	trapped(13, 0, count_ticks_at);
	run_user(count_ticks_p);
	trapped(13, 0, count_ticks_p_at);
	run_kernel(count_ticks);
	finished();
	WRITE_CR(4, cr4);
	end();
	begin("time/tsc-aux", "rdtscp rdpid");
	wrmsr(TSC_AUX, 0x12345678);
	in.rcx = ~0ull;
	run_user(count_ticks_p);
	finished();
	check("rcx", out.rcx, 0x12345678);
	if (cpu_has(7, 0, 2, 22)) {
		in.rcx = ~0ull;
		run_user(read_pid);
		finished();
		check("rdpid", out.rcx, 0x12345678);
	}
	wrmsr(TSC_AUX, 0);
	end();
	begin("time/rdpmc-is-the-kernels", "rdpmc");
	run_user(count_events);
	trapped(13, 0, count_events_at);
	end();
}

static void bases(void)
{
	const u64 cr4 = READ_CR(4);

	if (!cpu_has(7, 0, 1, 0)) {
		skip("bases/fsgsbase", "", "not offered");
		return;
	}
	begin("bases/fsgsbase", "rdfsbase rdgsbase wrfsbase wrgsbase");
	WRITE_CR(4, cr4 & ~0x10000ull);
	run_kernel(read_bases);
	trapped(6, NO_ERROR, read_bases_at);
	run_user(write_fs);
	trapped(6, NO_ERROR, write_fs_at);
	WRITE_CR(4, cr4 | 0x10000);
	in.rcx = 0x123456789a;
	run_user(write_fs);
	finished();
	in.rcx = 0xabcdef0123456789;
	run_user(write_gs32);
	finished();
	run_user(read_bases);
	check("gs", out.rcx, 0x23456789);
	check("fs", out.rdx, 0x123456789a);
	in.rcx = NONCANONICAL;
	run_user(write_fs);
	trapped(13, 0, write_fs_at);
	in.rcx = NONCANONICAL;
	run_user(write_gs);
	trapped(13, 0, write_gs_at);
	WRITE_CR(4, cr4);
	wrmsr(FS_BASE, 0);
	wrmsr(GS_BASE, 0);
	end();
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void allow(unsigned port, bool yes)
{
	if (yes)
		tss.map[port / 8] &= ~(1 << port % 8);
	else
		tss.map[port / 8] |= 1 << port % 8;
}

static void port(bool ok, u16 dx, const char *code, const char *at)
{
	in.rdx = dx;
	run_user(code);
	if (ok)
		finished();
	else
		trapped(13, 0, at);
}

static void ports(void)
{
	begin("ports/closed", "in out");
	port(false, 0, in_byte, in_byte_at);
	port(false, 0, out_byte, out_byte_at);
	port(false, 0x80, out_dword, out_dword_at);
	end();
	begin("ports/iopl", "in out");
	in.rflags = 2 | FLAG_IOPL;
	run_user(out_byte);
	finished();
	in.rflags = 2 | FLAG_IOPL;
	in.rdx = 0xfff0; /* nobody there */
	run_user(in_dword);
	finished();
	check("ones", out.rax, 0xffffffff);
	in.rflags = 2 | 2 << 12;
	run_user(out_byte);
	trapped(13, 0, out_byte_at);
	end();
	begin("ports/bitmap", "in out outsb");
	allow(0x80, true);
	port(true, 0, out_byte, out_byte_at);
	port(true, 0x80, out_byte_dx, out_byte_dx_at);
	port(false, 0x81, out_byte_dx, out_byte_dx_at);
	port(false, 0x80, out_word, out_word_at);
	in.rsi = TEST(0);
	port(true, 0x80, out_string, out_string_at);
	in.rsi = TEST(0);
	port(false, 0x81, out_string, out_string_at);
	allow(0x81, true);
	port(true, 0x80, out_word, out_word_at);
	port(false, 0x80, out_dword, out_dword_at);
	allow(0x80, false);
	allow(0x81, false);
	end();
	begin("ports/bits-of-two-bytes", "out");
	allow(0x87, true);
	port(false, 0x87, out_word, out_word_at);
	allow(0x88, true);
	port(true, 0x87, out_word, out_word_at);
	allow(0x87, false);
	port(false, 0x87, out_word, out_word_at);
	allow(0x88, false);
	end();
	begin("ports/map-ends", "out");
	/* the last port whose two bytes of the map lie inside the limit */
	for (unsigned i = 0; i < sizeof(tss.map); i++)
		tss.map[i] = 0;
	port(true, (sizeof(tss.map) - 2) * 8, out_byte_dx, out_byte_dx_at);
	port(false, (sizeof(tss.map) - 1) * 8, out_byte_dx, out_byte_dx_at);
	port(false, 0xffff, out_byte_dx, out_byte_dx_at);
	tss.iomap = sizeof(tss); /* no map at all */
	port(false, 0x80, out_byte_dx, out_byte_dx_at);
	tss.iomap = offsetof(struct tss, map);
	for (unsigned i = 0; i < sizeof(tss.map); i++)
		tss.map[i] = 0xff;
	end();
}

void cases_system(void)
{
	control_registers();
	model_specific();
	identity();
	time();
	bases();
	ports();
}
