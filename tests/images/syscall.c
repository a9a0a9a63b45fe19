/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT and SWAPGS, in 64-bit and in compatibility mode. SDM vol. 2
 * and APM vol. 3, the instructions' pages. The vendors differ: outside 64-bit mode only AMD has
 * SYSCALL, in long mode only Intel has SYSENTER, and only Intel looks at the address that SYSRET
 * returns to.
 */
#include "cases.h"

CODE(make_syscall, "", "syscall", "");
CODE32(make_syscall32, "", "syscall", "");
CODE(return64, "", "sysretq", "");
CODE(return32, "", "sysretl", "");
CODE32(return_compat, "", ".byte 0x0f, 0x07", "");
CODE(enter_fast, "", "sysenter", "");
CODE32(enter_fast32, "", "sysenter", "");
CODE(exit64, "", ".byte 0x48, 0x0f, 0x35", "");
CODE(exit32, "", "sysexit", "");
CODE(swap_gs, "", "swapgs", "");
CODE32(swap_gs32, "", ".byte 0x0f, 0x01, 0xf8", "");
CODE(write_msr, "", "wrmsr", "");

/* Sixty system calls and their returns, from a function on one side and with a call on the other.
 */
CODE(turns,
     "pushf; orl $0x40000, (%rsp); popf; mov $60, %r8d; xor %r9d, %r9d; xor %r12d, %r12d;"
     "1: call 2f; dec %r8d; jnz 1b; jmp 3f; 2: stc; syscall; adc $0, %r9d; ret; 3:",
     "", "");
CODE(quick_entry,
     "adc $0, %r12d; mov %cr2, %r13; mov %cs, %r14d; mov %ss, %ebx; mov %rsp, %r15;"
     "lea rsp0_stack_top(%rip), %rsp; call 3f; mov %r15, %rsp; jmp 4f; 3: ret; 4:",
     "sysretq", "");

#define STAR         0xc0000081
#define LSTAR        0xc0000082
#define CSTAR        0xc0000083
#define SFMASK       0xc0000084
#define EFER         0xc0000080
#define GS_BASE      0xc0000101
#define KERNEL_GS    0xc0000102
#define SYSENTER_CS  0x174
#define SYSENTER_ESP 0x175
#define SYSENTER_EIP 0x176
#define NONCANONICAL 0x8000000000000000ull
#define AT_SYSCALL   0x100 /* trap.S: where system calls arrive, told as vectors */
#define AT_SYSENTER  0x101
#define AT_SYSCALL32 0x102
#define SYSRET_FLAGS 0x3c7fd7ull /* SDM vol. 2 SYSRET: what R11 loads */

static void arrived(u64 vector)
{
	check("where", trap.vector, vector);
	check("cs", trap.handler_cs, SEL_CODE64);
	check("ss", trap.handler_ss, SEL_DATA);
}

static void set_up(void)
{
	wrmsr(STAR, (u64)SEL_USER32 << 48 | (u64)SEL_CODE64 << 32);
	wrmsr(LSTAR, (u64)syscall_entry);
	wrmsr(CSTAR, (u64)cstar_entry);
	wrmsr(SFMASK, FLAG_IF | FLAG_DF | FLAG_TF | FLAG_AC);
	wrmsr(SYSENTER_CS, SEL_CODE64);
	wrmsr(SYSENTER_ESP, (u64)rsp0_stack_top);
	wrmsr(SYSENTER_EIP, (u64)sysenter_entry);
}

static void calls(void)
{
	begin("syscall/from-user", "syscall");
	in.rflags = 2 | FLAG_IF | FLAG_DF | FLAG_CF | FLAG_OF;
	run_user(make_syscall);
	arrived(AT_SYSCALL);
	check("rcx", out.rcx, USER(make_syscall_end));
	check("r11", out.r11, 2 | FLAG_IF | FLAG_DF | FLAG_CF | FLAG_OF);
	check("flags", trap.handler_flags, 2 | FLAG_CF | FLAG_OF);
	check("rsp", trap.handler_rsp, USER(user_stack_top));
	end();
	begin("syscall/from-kernel", "syscall");
	run_kernel(make_syscall);
	arrived(AT_SYSCALL);
	check("rcx", out.rcx, (u64)make_syscall_end);
	end();
	begin("syscall/mask-of-all", "syscall");
	wrmsr(SFMASK, 0xffffffff);
	in.rflags = 2 | FLAG_CF | FLAG_AC | FLAG_NT | FLAG_ID | FLAG_IOPL;
	run_user(make_syscall);
	arrived(AT_SYSCALL);
	check("flags", trap.handler_flags, 2);
	check("r11", out.r11, 2 | FLAG_CF | FLAG_AC | FLAG_NT | FLAG_ID | FLAG_IOPL);
	set_up();
	end();
	begin("syscall/compatibility-mode", "syscall");
	run_user_compat(make_syscall32);
	if (cpu_is_amd()) {
		arrived(AT_SYSCALL32);
		check("rcx", out.rcx, USER(make_syscall32_end));
	} else {
		trapped(6, NO_ERROR, make_syscall32_at);
	}
	end();
	begin("syscall/not-enabled", "syscall sysret");
	wrmsr(EFER, rdmsr(EFER) & ~1ull);
	run_user(make_syscall);
	trapped(6, NO_ERROR, make_syscall_at);
	in.rcx = USER(return64_end);
	run_kernel(return64);
	trapped(6, NO_ERROR, return64_at);
	wrmsr(EFER, rdmsr(EFER) | 1);
	end();
	begin("syscall/target-must-be-canonical", "wrmsr");
	in.rcx = LSTAR;
	in.rdx = NONCANONICAL >> 32;
	run_kernel(write_msr);
	trapped(13, 0, write_msr_at);
	check("lstar", rdmsr(LSTAR), (u64)syscall_entry);
	set_up();
	end();
}

static void returned(u16 cs, u16 ss, const char *code)
{
	check("vector", trap.vector, DONE);
	check("rip", trap.rip, USER(code) + 2);
	check("cs", trap.cs, cs);
	check("ss", trap.ss, ss);
	check("rsp", trap.rsp, (u64)kernel_stack_top);
}

static void there_and_back(const char *name, bool smap)
{
	u64 cr4 = READ_CR(4);

	if (smap && !cpu_has(7, 0, 1, 20)) {
		skip(name, "syscall sysret", "not offered");
		return;
	}
	begin(name, "syscall sysret");
	wrmsr(LSTAR, (u64)quick_entry);
	WRITE_CR(4, smap ? cr4 | 1 << 21 : cr4);
	run_user(turns);
	WRITE_CR(4, cr4);
	set_up();
	finished();
	check("turns", out.r9, 60);
	check("turns in the kernel with CF as it was", out.r12, 60);
	check("cs in the kernel", out.r14, SEL_CODE64);
	check("ss in the kernel", out.rbx, SEL_DATA);
	check("cs", trap.cs, SEL_USER64);
	check("ss", trap.ss, SEL_UDATA);
	check("rsp", trap.rsp, USER(user_stack_top));
	check("flags", trap.rflags & (FLAG_AC | FLAG_IF | FLAG_TF), FLAG_AC);
	end();
}

static void returns(void)
{
	begin("sysret/to-64-bit", "sysret");
	in.rcx = USER(return64_end);
	in.r11 = 2 | FLAG_CF | FLAG_DF | FLAG_AC;
	run_kernel(return64);
	returned(SEL_USER64, SEL_UDATA, return64_end);
	check("flags", trap.rflags, 2 | FLAG_CF | FLAG_DF | FLAG_AC);
	end();
	begin("sysret/to-compatibility", "sysret");
	in.rcx = USER(return32_end) | 0xabcdull << 32; /* only ECX counts */
	in.r11 = 2;
	run_kernel(return32);
	returned(SEL_USER32, SEL_UDATA, return32_end);
	end();
	begin("sysret/flags", "sysret");
	in.rcx = USER(return64_end);
	in.r11 = ~(FLAG_TF | FLAG_IF);
	run_kernel(return64);
	returned(SEL_USER64, SEL_UDATA, return64_end);
	check("flags", trap.rflags, (SYSRET_FLAGS & ~(FLAG_TF | FLAG_IF)) | 2);
	end();
	begin("sysret/is-the-kernels", "sysret");
	in.rcx = USER(return64_end);
	run_user(return64);
	trapped(13, 0, return64_at);
	end();
	begin("sysret/non-canonical", "sysret");
	in.rcx = NONCANONICAL;
	in.r11 = 2;
	run_kernel(return64);
	check("vector", trap.vector, 13);
	check("error", trap.error, 0);
	if (cpu_is_amd()) { /* it has happened: the first fetch faults */
		check("cs", trap.cs, SEL_USER64);
		check("rip", trap.rip, NONCANONICAL);
	} else {
		check("cs", trap.cs, SEL_CODE64);
		check("rip", trap.rip, (u64)return64_at);
	}
	end();
	if (cpu_is_amd()) {
		skip("sysret/compatibility-mode", "", "AMD has it there");
	} else {
		begin("sysret/compatibility-mode", "sysret");
		run_compat(return_compat);
		trapped(6, NO_ERROR, return_compat_at);
		end();
	}
}

static void fast_entry(void)
{
	if (cpu_is_amd()) {
		begin("sysenter/not-in-long-mode", "sysenter sysexit");
		run_user(enter_fast);
		trapped(6, NO_ERROR, enter_fast_at);
		run_user_compat(enter_fast32);
		trapped(6, NO_ERROR, enter_fast32_at);
		run_kernel(exit64);
		trapped(6, NO_ERROR, exit64_at);
		end();
		return;
	}
	begin("sysenter/from-user", "sysenter");
	in.rflags = 2 | FLAG_IF | FLAG_CF | FLAG_AC;
	run_user(enter_fast);
	arrived(AT_SYSENTER);
	check("rsp", trap.handler_rsp, (u64)rsp0_stack_top);
	check("flags", trap.handler_flags, 2 | FLAG_CF | FLAG_AC);
	run_user_compat(enter_fast32);
	arrived(AT_SYSENTER);
	end();
	begin("sysenter/no-segment", "sysenter sysexit");
	wrmsr(SYSENTER_CS, 3);
	run_user(enter_fast);
	trapped(13, 0, enter_fast_at);
	run_kernel(exit64);
	trapped(13, 0, exit64_at);
	wrmsr(SYSENTER_CS, SEL_CODE64);
	end();
	begin("sysexit/to-64-bit", "sysexit");
	in.rdx = USER(exit64_end);
	in.rcx = USER(user_stack_top) - 64;
	run_kernel(exit64);
	check("vector", trap.vector, DONE);
	check("cs", trap.cs, (SEL_CODE64 + 32) | 3);
	check("ss", trap.ss, (SEL_CODE64 + 40) | 3);
	check("rsp", trap.rsp, USER(user_stack_top) - 64);
	end();
	begin("sysexit/to-compatibility", "sysexit");
	in.rdx = USER(exit32_end) | 1ull << 40;
	in.rcx = (USER(user_stack_top) - 64) | 1ull << 40;
	run_kernel(exit32);
	check("vector", trap.vector, DONE);
	check("cs", trap.cs, (SEL_CODE64 + 16) | 3);
	check("ss", trap.ss, (SEL_CODE64 + 24) | 3);
	check("rsp", trap.rsp, USER(user_stack_top) - 64);
	end();
	begin("sysexit/refused", "sysexit");
	in.rdx = USER(exit64_end);
	run_user(exit64);
	trapped(13, 0, exit64_at);
	in.rdx = NONCANONICAL;
	run_kernel(exit64);
	trapped(13, 0, exit64_at);
	in.rcx = NONCANONICAL;
	run_kernel(exit64);
	trapped(13, 0, exit64_at);
	end();
}

static void swaps(void)
{
	begin("swapgs/both-ways", "swapgs");
	wrmsr(GS_BASE, 0x1111);
	wrmsr(KERNEL_GS, 0x2222);
	run_kernel(swap_gs);
	finished();
	check("gs", rdmsr(GS_BASE), 0x2222);
	check("kernel gs", rdmsr(KERNEL_GS), 0x1111);
	end();
	begin("swapgs/refused", "swapgs");
	run_user(swap_gs);
	trapped(13, 0, swap_gs_at);
	run_compat(swap_gs32);
	trapped(6, NO_ERROR, swap_gs32_at);
	check("gs", rdmsr(GS_BASE), 0x2222);
	end();
	wrmsr(GS_BASE, 0);
	wrmsr(KERNEL_GS, 0);
}

void cases_syscall(void)
{
	set_up();
	calls();
	there_and_back("syscall/there-and-back", false);
	there_and_back("syscall/there-and-back-with-smap", true);
	returns();
	fast_entry();
	swaps();
}
