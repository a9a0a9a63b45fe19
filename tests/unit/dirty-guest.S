/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that writes memory in every way there is, one at a time, as it is told to: 64-bit code,
 * position-independent, for test-engine.c, which has the names of the ways in the same order.
 *
 *	r15	its ports: +0 read: where to write, 0: nothing to do, ~0: the end; +4 read: how; +8
 *		written: done; +12 read: data
 *	r14	a page that can be read
 *
 * Two pages at the address are its own.
 */
	.code64
	.text
	.globl	dirty_guest, dirty_guest_end, dirty_guest_interrupt

dirty_guest:
	mov	%r15d, %edx
	in	%dx, %eax
	test	%eax, %eax
	jz	0f
	cmp	$-1, %eax
	je	1f
	mov	%eax, %edi
	add	$4, %edx
	in	%dx, %eax
	lea	ways(%rip), %rdx
	movslq	(%rdx,%rax,4), %rcx
	add	%rdx, %rcx
	mov	$0x1122334455667788, %rax
	mov	%rdi, %rbx
	jmp	*%rcx
0:	pause
	jmp	dirty_guest
1:	hlt
	jmp	1b

done:
	mov	%r15d, %edx
	add	$8, %edx
	out	%eax, %dx
	jmp	dirty_guest

dirty_guest_interrupt:
	add	$40, %rsp
	jmp	done

read:
	mov	(%rdi), %rax
	mov	4096(%rdi), %rax
	jmp	done
byte:
	movb	$1, (%rdi)
	jmp	done
qword:
	mov	%rax, (%rdi)
	jmp	done
qword_across:
	mov	%rax, 4092(%rdi)
	jmp	done
vector:
	movdqu	%xmm0, (%rdi)
	jmp	done
vector_across:
	movdqu	%xmm0, 4088(%rdi)
	jmp	done
x87_across:
	fldz
	fstpt	4090(%rdi)
	jmp	done
not_temporal:
	movnti	%rax, (%rdi)
	movntdq	%xmm0, 64(%rdi)
	jmp	done
masked:
	pcmpeqd	%xmm1, %xmm1
	maskmovdqu %xmm1, %xmm0
	jmp	done
stos:
	stosq
	jmp	done
rep_stos:
	mov	$1024, %ecx
	rep stosq
	jmp	done
rep_stos_down:
	add	$8191, %rdi
	mov	$8192, %ecx
	std
	rep stosb
	cld
	jmp	done
movs:
	mov	%r14, %rsi
	movsq
	jmp	done
movs_across:
	mov	%r14, %rsi
	add	$4092, %rdi
	movsq
	jmp	done
rep_movs:
	mov	%r14, %rsi
	mov	$512, %ecx
	rep movsq
	mov	%r14, %rsi
	mov	$4096, %ecx
	rep movsb
	jmp	done
ins:
	mov	%r15d, %edx
	add	$12, %edx
	insl
	jmp	done
rep_ins:
	mov	%r15d, %edx
	add	$12, %edx
	add	$4092, %rdi
	mov	$2, %ecx
	rep insl
	jmp	done
change:
	incl	(%rdi)
	jmp	done
set_bit:
	btsq	$9, (%rdi)
	jmp	done
set_flag:
	sete	(%rdi)
	jmp	done
exchange:
	xchg	%rax, (%rdi)
	jmp	done
locked:
	lock xadd %rax, (%rdi)
	jmp	done
locked_across:
	lock addq $1, 4092(%rdi)
	jmp	done
exchange_8:
	mov	(%rdi), %eax
	mov	4(%rdi), %edx
	cmpxchg8b (%rdi)
	jmp	done
exchange_16:
	mov	(%rdi), %rax
	mov	8(%rdi), %rdx
	cmpxchg16b (%rdi)
	jmp	done
stack:
	lea	256(%rdi), %rsp
	push	%rax
	jmp	done
stack_across:
	lea	4100(%rdi), %rsp
	push	%rax
	jmp	done
call:
	lea	256(%rdi), %rsp
	call	done
pop:
	mov	%r14, %rsp
	pop	(%rdi)
	jmp	done
frame:
	lea	256(%rdi), %rsp
	enter	$16, $0
	jmp	done
interrupt:
	lea	256(%rdi), %rsp
	int	$0x80
fxsave_area:
	fxsave	(%rdi)
	jmp	done
fxsave_across:
	fxsave	3840(%rdi)
	jmp	done
environment:
	fnstenv	(%rdi)
	jmp	done
control_word:
	stmxcsr	(%rdi)
	jmp	done
table:
	sgdt	(%rdi)
	jmp	done
loop:
	mov	$1024, %ecx
0:	mov	%rax, (%rdi)
	add	$8, %rdi
	dec	%ecx
	jnz	0b
	jmp	done
group:
	mov	%rax, (%rdi)
	mov	%rax, 8(%rdi)
	mov	%rax, 4000(%rdi)
	jmp	done
group_across:
	mov	%rax, 16(%rdi)
	mov	%rax, 4104(%rdi)
	jmp	done
xsave_area:
	mov	$7, %eax
	xor	%edx, %edx
	xsave	(%rdi)
	jmp	done
xsave_across:
	mov	$3, %eax
	xor	%edx, %edx
	xsave	3840(%rdi)
	jmp	done

/* Sixty-four pages, again and again, in several ways and without a word to anybody. */
churn:
	mov	$400, %r8d
0:	mov	%rbx, %r9
	mov	$64, %r10d
1:	incq	(%r9)
	incq	1024(%r9)
	lock incq 2048(%r9)
	addq	$3, 4092(%r9)
	mov	%r9, %rsi
	lea	3072(%r9), %rdi
	mov	$16, %ecx
	rep movsb
	lea	512(%r9), %rsp
	push	%r8
	add	$4096, %r9
	dec	%r10d
	jnz	1b
	dec	%r8d
	jnz	0b
	jmp	done

	.balign 4
ways:
	.irp	name, read, byte, qword, qword_across, vector, vector_across, x87_across, not_temporal, \
		masked, stos, rep_stos, rep_stos_down, movs, movs_across, rep_movs, ins, rep_ins, change, \
		set_bit, set_flag, exchange, locked, locked_across, exchange_8, exchange_16, stack, \
		stack_across, call, pop, frame, interrupt, fxsave_area, fxsave_across, environment, \
		control_word, table, loop, group, group_across, xsave_area, xsave_across, churn
	.long	\name - ways
	.endr
dirty_guest_end:
	.section .note.GNU-stack, "", @progbits
