/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The beginning of every image: entered in 32-bit protected mode without paging, by PVH (EBX: the
 * start info, unused) or by boot.S. Goes to long mode with the first GiB mapped to itself in
 * 2 MiB pages, and calls image_main(). Other processors that it starts come by start_ap.
 */
#include "image.h"

	.section .head, "ax"
	.code32
	.globl start32
start32:
	cli
	cld
	movl	$boot_stack_top, %esp
	jmp	enter_long_mode

	.section .note.pvh, "a"
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start32

	.text
	.code32
	/* ESP: the stack to use. Ends in image_main() or, for other processors, image_ap_main(). */
enter_long_mode:
	lgdt	boot_gdtr
	ljmp	$SEL_CODE32, $1f
1:	movw	$SEL_DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	%ax, %fs
	movw	%ax, %gs
	movl	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	movl	%eax, %cr4
	movl	$boot_pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER: SCE, LME, NXE */
	movl	$0x901, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x80010033, %eax	/* PG, WP, NE, ET, MP, PE */
	movl	%eax, %cr0
	ljmp	$SEL_CODE64, $1f
	.code64
1:	movl	%esp, %esp
	xorl	%ebp, %ebp
	fninit
	cmpb	$0, ap_is_here
	jne	2f
	movb	$1, ap_is_here
	call	image_main
	call	image_exit
	.weak	image_ap_main
2:	call	image_ap_main
3:	cli
	hlt
	jmp	3b

	/* Copied below 1 MiB: where a started processor begins, in real mode. Its stack is in
	 * ap_stack, which whoever starts it has set. */
	.globl	ap_boot, ap_boot_end, ap_stack
	.code16
ap_boot:
	cli
	lgdtl	%cs:(ap_gdtr - ap_boot)
	movl	$0x11, %eax
	movl	%eax, %cr0
	ljmpl	$SEL_CODE32, $start_ap
ap_gdtr:
	.word	boot_gdt_end - boot_gdt - 1
	.long	boot_gdt
ap_boot_end:
	.code32
start_ap:
	movw	$SEL_DATA, %ax
	movw	%ax, %ss
	movw	%ax, %ds
	movl	ap_stack, %esp
	jmp	enter_long_mode

	.data
ap_stack:
	.long	0
ap_is_here:
	.long	0
	.balign	16
	.globl	boot_gdt, boot_gdt_end, boot_pml4
boot_gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* SEL_CODE64 */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
	.quad	0x00cf9b000000ffff	/* SEL_CODE32 */
	.quad	0x00cffb000000ffff	/* SEL_USER32 */
	.quad	0x00cff3000000ffff	/* SEL_UDATA */
	.quad	0x00affb000000ffff	/* SEL_USER64 */
	.skip	8 * 57			/* for the image */
boot_gdt_end:
boot_gdtr:
	.word	boot_gdt_end - boot_gdt - 1
	.quad	boot_gdt

	.balign	4096
boot_pml4:
	.quad	boot_pdpt + 7
	.skip	511 * 8
boot_pdpt:
	.quad	boot_pd + 7
	.skip	511 * 8
boot_pd:
	.set	page, 0
	.rept	512
	.quad	page + 0xe3		/* P, W, A, D, PS; kernel only */
	.set	page, page + 0x200000
	.endr
	.skip	16384
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
