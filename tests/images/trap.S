/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * enter_code() runs a piece of code with the registers and segments of `in`, at any privilege level,
 * in 64-bit or compatibility mode, until something traps: every vector of the IDT comes back here,
 * with the registers in `out` and the frame in `trap`. A piece that ends well does so by INT 0x40.
 */
#include "image.h"
#include "cases.h"

	.text
	.code64
	.globl	enter_code
enter_code:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, saved_rsp(%rip)
	movw	in + IN_DS(%rip), %ax
	movw	%ax, %ds
	movw	%ax, %es
	pushq	in + IN_SS(%rip)
	pushq	in + IN_RSP(%rip)
	pushq	in + IN_RFLAGS(%rip)
	pushq	in + IN_CS(%rip)
	pushq	in + IN_RIP(%rip)
	movq	in + 0(%rip), %rax
	movq	in + 8(%rip), %rbx
	movq	in + 16(%rip), %rcx
	movq	in + 24(%rip), %rdx
	movq	in + 32(%rip), %rsi
	movq	in + 40(%rip), %rdi
	movq	in + 48(%rip), %rbp
	movq	in + 56(%rip), %r8
	movq	in + 64(%rip), %r9
	movq	in + 72(%rip), %r10
	movq	in + 80(%rip), %r11
	movq	in + 88(%rip), %r12
	movq	in + 96(%rip), %r13
	movq	in + 104(%rip), %r14
	movq	in + 112(%rip), %r15
	iretq

	/* One stub a vector, 16 bytes each: an error code of 0 where the processor pushes none. */
	.globl	trap_stubs
	.balign	16
trap_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	(0x60227d00 >> vector) & 1 == 0 || vector > 31
	pushq	$-1
	.endif
	pushq	$vector
	jmp	trap_common
	.set	vector, vector + 1
	.endr

trap_common:
	movq	%rax, out + 0(%rip)
	movq	%rbx, out + 8(%rip)
	movq	%rcx, out + 16(%rip)
	movq	%rdx, out + 24(%rip)
	movq	%rsi, out + 32(%rip)
	movq	%rdi, out + 40(%rip)
	movq	%rbp, out + 48(%rip)
	movq	%r8, out + 56(%rip)
	movq	%r9, out + 64(%rip)
	movq	%r10, out + 72(%rip)
	movq	%r11, out + 80(%rip)
	movq	%r12, out + 88(%rip)
	movq	%r13, out + 96(%rip)
	movq	%r14, out + 104(%rip)
	movq	%r15, out + 112(%rip)
	popq	trap + TRAP_VECTOR(%rip)
	popq	trap + TRAP_ERROR(%rip)
	movq	%rsp, trap + TRAP_HANDLER_RSP(%rip)
	pushfq
	popq	trap + TRAP_HANDLER_FLAGS(%rip)
	cld
	movq	%cr2, %rax
	movq	%rax, trap + TRAP_CR2(%rip)
	popq	trap + TRAP_RIP(%rip)
	popq	trap + TRAP_CS(%rip)
	popq	trap + TRAP_RFLAGS(%rip)
	popq	trap + TRAP_RSP(%rip)
	popq	trap + TRAP_SS(%rip)
	movw	%ds, trap + TRAP_DS(%rip)
	movw	%es, trap + TRAP_ES(%rip)
	movw	%ss, trap + TRAP_HANDLER_SS(%rip)
	movw	%cs, trap + TRAP_HANDLER_CS(%rip)
	.globl	leave_code
leave_code:			/* code that leaves by SYSCALL and its kin comes here */
	movq	saved_rsp(%rip), %rsp
	movl	$SEL_DATA, %eax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	pushq	$2
	popfq
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	/* Where SYSCALL and SYSENTER arrive: told as vectors 0x100 and 0x101. */
	.globl	syscall_entry, cstar_entry, sysenter_entry
syscall_entry:
	movq	$0x100, trap + TRAP_VECTOR(%rip)
	jmp	1f
cstar_entry:
	movq	$0x102, trap + TRAP_VECTOR(%rip)
	jmp	1f
sysenter_entry:
	movq	$0x101, trap + TRAP_VECTOR(%rip)
1:	movq	%rax, out + 0(%rip)
	movq	%rcx, out + 16(%rip)
	movq	%rdx, out + 24(%rip)
	movq	%r11, out + 80(%rip)
	movq	%rsp, trap + TRAP_HANDLER_RSP(%rip)
	movw	%ss, trap + TRAP_HANDLER_SS(%rip)
	movw	%cs, trap + TRAP_HANDLER_CS(%rip)
	leaq	kernel_stack_top(%rip), %rsp
	pushfq
	popq	trap + TRAP_HANDLER_FLAGS(%rip)
	jmp	leave_code

	.data
	.balign	16
	.globl	in, out, trap, kernel_stack_top, user_stack_top, rsp0_stack_top, ist_stack_top
saved_rsp:
	.quad	0
in:	.skip	IN_BYTES
out:	.skip	IN_BYTES
trap:	.skip	TRAP_BYTES
	.balign	4096
	.skip	4096
kernel_stack_top:
	.skip	4096
user_stack_top:
	.skip	4096
rsp0_stack_top:
	.skip	4096
ist_stack_top:
	.section .note.GNU-stack, "", @progbits
