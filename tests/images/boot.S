/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector for machines that know no PVH: reads the flat image that follows it on the disk
 * (sectors of 512 bytes) to 1 MiB and enters it as PVH would. Whoever makes the disk writes the number
 * of sectors into `left`. A chunk goes through memory below 1 MiB; "unreal" mode (a 4 GiB limit kept from protected mode)
 * copies it up.
 */
	.code16
	.globl	boot
boot:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7c00, %sp
	movb	%dl, drive
	movw	$0x2401, %ax		/* A20 on */
	int	$0x15
	inb	$0x92, %al
	orb	$2, %al
	andb	$0xfe, %al
	outb	%al, $0x92
	lgdtl	gdtr

next:
	movw	$packet, %si
	movb	$0x42, %ah		/* extended read */
	movb	drive, %dl
	int	$0x13
	jc	failed
	cli
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	jmp	1f
1:	movw	$0x10, %bx
	movw	%bx, %ds
	movw	%bx, %es
	andb	$0xfe, %al
	movl	%eax, %cr0
	jmp	1f
1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movl	$0x10000, %esi
	movl	target, %edi
	movl	$(64 * 512 / 4), %ecx
	cld
	addr32 rep movsl
	movl	%edi, target
	addl	$64, packet_lba
	subw	$64, left
	ja	next
	cli
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $protected
failed:
	movb	$'!', %al
	outb	%al, $0xe9
	hlt
	jmp	failed
	.code32
protected:
	movw	$0x10, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	xorl	%ebx, %ebx
	movl	$0x100000, %eax
	jmp	*%eax

drive:	.byte	0
	.balign	4
target:	.long	0x100000
packet:	.byte	16, 0
	.word	64			/* sectors a read */
	.word	0, 0x1000		/* to 1000:0000 */
packet_lba:
	.quad	1
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdtr:	.word	23
	.long	gdt
	.org	508
left:	.word	0
	.word	0xaa55
	.section .note.GNU-stack, "", @progbits
