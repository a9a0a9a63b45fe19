/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Out of long mode and back: see legacy.h. */
#include "image.h"
#include "legacy.h"

	.text
	.code64
	.globl	enter_legacy
enter_legacy:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, long_rsp(%rip)
	movq	%cr0, %rax
	movl	%eax, long_cr0(%rip)
	movq	%cr3, %rax
	movl	%eax, long_cr3(%rip)
	movq	%cr4, %rax
	movl	%eax, long_cr4(%rip)
	movl	$0xc0000080, %ecx
	rdmsr
	movl	%eax, long_efer(%rip)
	pushq	$SEL_CODE32
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq

	.code32
1:	movl	$SEL_DATA, %eax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	movl	world + WORLD_EFER, %eax
	xorl	%edx, %edx
	wrmsr
	movl	world + WORLD_CR4, %eax
	movl	%eax, %cr4
	movl	world + WORLD_CR3, %eax
	movl	%eax, %cr3
	movl	world + WORLD_CR0, %eax
	movl	%eax, %cr0
	jmp	1f
1:	cmpl	$0, world + WORLD_REAL
	je	1f
	ljmp	$SEL_CODE16, $(real_enter - real_begin)
1:	lidt	world + WORLD_IDT
	movw	world + WORLD_TR, %ax
	ltr	%ax
	testl	$3, in + IN_CS
	jz	1f
	pushl	in + IN_SS
	pushl	in + IN_RSP
	jmp	2f
1:	movw	in + IN_SS, %ss
	movl	in + IN_RSP, %esp
2:	pushl	in + IN_RFLAGS
	pushl	in + IN_CS
	pushl	in + IN_RIP
	pushl	in + 0
	pushl	in + IN_DS
	pushl	in + IN_DS
	movl	in + 8, %ebx
	movl	in + 16, %ecx
	movl	in + 24, %edx
	movl	in + 32, %esi
	movl	in + 40, %edi
	movl	in + 48, %ebp
	popl	%es
	popl	%ds
	popl	%eax
	iretl

	/* As trap_stubs. */
	.globl	legacy_stubs
	.balign	16
legacy_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	(0x60227d00 >> (vector & 31)) & 1 == 0 || vector > 31
	pushl	$-1
	.endif
	pushl	$vector
	jmp	legacy_common
	.set	vector, vector + 1
	.endr

legacy_common:
	pushl	%ds
	pushl	%eax
	movl	$SEL_DATA, %eax
	movw	%ax, %ds
	popl	out + 0
	popl	%eax
	movw	%ax, trap + TRAP_DS
	movl	%ebx, out + 8
	movl	%ecx, out + 16
	movl	%edx, out + 24
	movl	%esi, out + 32
	movl	%edi, out + 40
	movl	%ebp, out + 48
	popl	trap + TRAP_VECTOR
	popl	%eax
	cltd
	movl	%eax, trap + TRAP_ERROR
	movl	%edx, trap + TRAP_ERROR + 4
	movl	%esp, trap + TRAP_HANDLER_RSP
	pushfl
	popl	trap + TRAP_HANDLER_FLAGS
	cld
	popl	trap + TRAP_RIP
	popl	trap + TRAP_CS
	popl	trap + TRAP_RFLAGS
	movl	%cs, %eax
	xorl	trap + TRAP_CS, %eax
	testl	$3, %eax
	jz	1f
	popl	trap + TRAP_RSP
	popl	trap + TRAP_SS
	jmp	2f
1:	movl	%esp, trap + TRAP_RSP
	movw	%ss, trap + TRAP_SS
2:	movl	%cr2, %eax
	movl	%eax, trap + TRAP_CR2
	movw	%es, trap + TRAP_ES
	movw	%ss, trap + TRAP_HANDLER_SS
	movw	%cs, trap + TRAP_HANDLER_CS
	jmp	leave_legacy

	/* Where 16-bit gates lead, in a segment based here: their frame has words, told as vector 0x200. */
	.globl	legacy_stub16
	.balign	16
legacy_stub16:
	ljmp	$SEL_CODE32, $1f
1:	movl	$SEL_DATA, %eax
	movw	%ax, %ds
	movl	$0x200, trap + TRAP_VECTOR
	movl	%esp, trap + TRAP_HANDLER_RSP
	pushfl
	popl	trap + TRAP_HANDLER_FLAGS
	popw	trap + TRAP_RIP
	popw	trap + TRAP_CS
	popw	trap + TRAP_RFLAGS
	movl	%esp, trap + TRAP_RSP
	movw	%ss, trap + TRAP_SS
	movw	%ss, trap + TRAP_HANDLER_SS
	testl	$3, trap + TRAP_CS
	jz	leave_legacy
	popw	trap + TRAP_RSP
	movw	$0, trap + TRAP_RSP + 2
	popw	trap + TRAP_SS

	.globl	leave_legacy
leave_legacy:
	movl	$SEL_DATA, %eax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	andb	$~2, boot_gdt + SEL_TSS32 + 8 + 5 /* long mode is not entered from a 16-bit TSS */
	movw	$(SEL_TSS32 + 8), %ax
	ltr	%ax
	movl	long_cr4, %eax
	movl	%eax, %cr4
	movl	long_cr3, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	movl	long_efer, %eax
	andl	$~0x400, %eax
	xorl	%edx, %edx
	wrmsr
	movl	long_cr0, %eax
	movl	%eax, %cr0
	ljmp	$SEL_CODE64, $1f
	.code64
1:	movq	long_rsp(%rip), %rsp
	pushq	$2
	popfq
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	/* Copied below 1 MiB, to REAL_SEG. */
	.code16
	.globl	real_begin, real_end, real_area, real_stubs
	.balign	16
real_begin:
real_enter:				/* still protected, in a 16-bit segment */
	movw	$SEL_DATA16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	%cr0, %eax
	andb	$0xfe, %al
	movl	%eax, %cr0
	ljmpw	$REAL_SEG, $(1f - real_begin)
	.set	area, real_area - real_begin
1:	lidtl	%cs:(area + REAL_IDT)
	movw	%cs:(area + REAL_SS), %ss
	movl	%cs:(area + REAL_ESP), %esp
	pushw	%cs:(area + REAL_FLAGS)
	pushw	%cs:(area + REAL_CS)
	pushw	%cs:(area + REAL_IP)
	movl	%cs:(area + REAL_EAX), %eax
	movl	%cs:(area + REAL_EBX), %ebx
	movl	%cs:(area + REAL_ECX), %ecx
	movl	%cs:(area + REAL_EDX), %edx
	movl	%cs:(area + REAL_ESI), %esi
	movl	%cs:(area + REAL_EDI), %edi
	movl	%cs:(area + REAL_EBP), %ebp
	movw	%cs:(area + REAL_DS), %ds
	movw	%cs:(area + REAL_ES), %es
	iretw

	.balign	8
real_stubs:
	.set	vector, 0
	.rept	256
	.balign	8
	pushw	$vector
	jmp	real_common
	.set	vector, vector + 1
	.endr

real_common:
	movl	%eax, %cs:(area + REAL_EAX)
	movl	%ebx, %cs:(area + REAL_EBX)
	movl	%ecx, %cs:(area + REAL_ECX)
	movl	%edx, %cs:(area + REAL_EDX)
	movl	%esi, %cs:(area + REAL_ESI)
	movl	%edi, %cs:(area + REAL_EDI)
	movl	%ebp, %cs:(area + REAL_EBP)
	popw	%cs:(area + REAL_VECTOR)
	movl	%esp, %cs:(area + REAL_HESP)
	pushfw
	popw	%cs:(area + REAL_HFLAGS)
	popw	%cs:(area + REAL_IP)
	popw	%cs:(area + REAL_CS)
	popw	%cs:(area + REAL_FLAGS)
	movl	%esp, %cs:(area + REAL_ESP)
	movw	%ss, %cs:(area + REAL_SS)
	movw	%ds, %cs:(area + REAL_DS)
	movw	%es, %cs:(area + REAL_ES)
	lgdtl	%cs:(area + REAL_GDT)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$SEL_CODE32, $leave_real
	.balign	8
real_area:
	.skip	REAL_BYTES
real_end:
	.code32
leave_real:
	movl	$SEL_DATA, %eax
	movw	%ax, %ds
	jmp	leave_legacy

	.data
	.balign	8
long_rsp:
	.quad	0
long_cr0:
	.long	0
long_cr3:
	.long	0
long_cr4:
	.long	0
long_efer:
	.long	0
	.section .note.GNU-stack, "", @progbits
