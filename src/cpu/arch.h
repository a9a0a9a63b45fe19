/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The architectural state of one x86 processor, the same for every accelerator.
 *
 * This is what a guest could observe and nothing else: no caches, no translator internals. A
 * guest saved under one accelerator resumes under another because both speak this structure.
 * Numbers follow the AMD APM vol. 2 and the Intel SDM vol. 3.
 */
#ifndef LODGE_CPU_ARCH_H
#define LODGE_CPU_ARCH_H

#include "base/types.h"

enum x86_gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum x86_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TR, SEG_COUNT };

/* A segment register with its hidden part. @attr has the layout of bits 40..55 of a descriptor
 * (type 0..3, S 4, DPL 5..6, P 7, AVL 12, L 13, D/B 14, G 15); @limit is in bytes, scaled. */
struct x86_segment {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attr;
};

#define SEG_ATTR_TYPE   0x000f
#define SEG_ATTR_S      0x0010
#define SEG_ATTR_DPL(a) (((a) >> 5) & 3)
#define SEG_ATTR_P      0x0080
#define SEG_ATTR_L      0x2000
#define SEG_ATTR_DB     0x4000
#define SEG_ATTR_G      0x8000

struct x86_table {
	u64 base;
	u16 limit;
};

/* RFLAGS */
#define FLAG_CF      BIT(0)
#define FLAG_PF      BIT(2)
#define FLAG_AF      BIT(4)
#define FLAG_ZF      BIT(6)
#define FLAG_SF      BIT(7)
#define FLAG_TF      BIT(8)
#define FLAG_IF      BIT(9)
#define FLAG_DF      BIT(10)
#define FLAG_OF      BIT(11)
#define FLAG_IOPL    (3ull << 12)
#define FLAG_NT      BIT(14)
#define FLAG_RF      BIT(16)
#define FLAG_VM      BIT(17)
#define FLAG_AC      BIT(18)
#define FLAG_VIF     BIT(19)
#define FLAG_VIP     BIT(20)
#define FLAG_ID      BIT(21)
#define FLAGS_ARITH  (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)
#define FLAGS_SYSRET 0x3c7fd7u /* what R11 loads: all but RF, VM and reserved bits */

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)

#define EFER_SCE   BIT(0)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define EFER_NXE   BIT(11)
#define EFER_FFXSR BIT(14)

enum x86_vector {
	VEC_DE = 0,
	VEC_DB = 1,
	VEC_NMI = 2,
	VEC_BP = 3,
	VEC_OF = 4,
	VEC_BR = 5,
	VEC_UD = 6,
	VEC_NM = 7,
	VEC_DF = 8,
	VEC_TS = 10,
	VEC_NP = 11,
	VEC_SS = 12,
	VEC_GP = 13,
	VEC_PF = 14,
	VEC_MF = 16,
	VEC_AC = 17,
	VEC_MC = 18,
	VEC_XM = 19
};

/* Page-fault error code, APM vol. 2 section 8.2.15 */
#define PF_P   BIT(0)
#define PF_W   BIT(1)
#define PF_U   BIT(2)
#define PF_RSV BIT(3)
#define PF_I   BIT(4)
#define PF_PK  BIT(5)

/* What a processor is doing, APIC specification of the MP start-up protocol. */
enum x86_activity { X86_RUNNING, X86_HALTED, X86_WAIT_SIPI, X86_SHUTDOWN };

#define X86_XSAVE_BYTES 4096 /* enough for x87, SSE, AVX and AVX-512 in standard format */

struct x86_msrs {
	u64 star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, apic_base, misc_enable, spec_ctrl, debugctl;
	u64 mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
	u64 mcg_status, mcg_ctl, mc_bank[10][4];
	u64 kvm_system_time, kvm_wall_clock, kvm_steal_time, kvm_async_pf, kvm_pv_eoi,
		kvm_poll_control;
	u64 tsc_adjust;
};

struct x86_state {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	struct x86_segment seg[SEG_COUNT];
	struct x86_table gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, cr8;
	u64 efer;
	u64 xcr0;
	u64 dr[8];
	u64 tsc; /* guest TSC at the moment of saving */
	struct x86_msrs msr;
	u8 activity;    /* enum x86_activity */
	u8 intr_shadow; /* 1: the instruction after STI or MOV SS, interrupts held off */
	u8 nmi_masked;  /* 1: between an NMI and its IRET */
	u8 nmi_pending;
	u8 init_pending, sipi_pending, sipi_vector; /* messages that were not taken yet */
	u8 event_pending; /* 1: event_* is being delivered and must be delivered on resume */
	u8 event_vector, event_has_error, event_soft;
	u32 event_error;
	u8 xsave[X86_XSAVE_BYTES] __attribute__((aligned(64))); /* standard XSAVE format */
};

/* A local APIC: its registers as the xAPIC page has them (SDM vol. 3 table 11-1), one for each 16
 * bytes, whatever mode it is in: the ID is in the upper 8 bits of its register, the upper half of
 * the ICR in a register of its own. */
struct x86_lapic {
	u64 base; /* IA32_APIC_BASE */
	u64 tsc_deadline;
	u32 regs[64];
};

#endif
