/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building the ACPI tables in guest RAM. See acpi.h; section numbers are of ACPI 6.4.
 *
 *   RSDP -> XSDT -> FADT -> DSDT, FACS
 *                -> MADT, MCFG, HPET, SSDT (processors)
 */
#include "machine/acpi/acpi.h"

#include "dsdt.h"
#include "machine/layout.h"
#include "machine/vm.h"
#include "ssdt_cpu.h"

#include <errno.h>
#include <string.h>

#define PACKED __attribute__((packed))

struct PACKED header { /* 5.2.6 */
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem_id[6], oem_table_id[8];
	u32 oem_revision;
	char creator_id[4];
	u32 creator_revision;
};

struct PACKED address { /* 5.2.3.2, generic address structure */
	u8 space, bits, offset, access;
	u64 address;
};

struct PACKED rsdp { /* 5.2.5.3 */
	char signature[8];
	u8 checksum;
	char oem_id[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 extended_checksum, reserved[3];
};

struct PACKED fadt { /* 5.2.9 */
	struct header h;
	u32 facs, dsdt;
	u8 reserved0, pm_profile;
	u16 sci_int;
	u32 smi_cmd;
	u8 acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	u32 pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	u8 pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base,
		cst_cnt;
	u16 c2_latency, c3_latency, flush_size, flush_stride;
	u8 duty_offset, duty_width, day_alarm, month_alarm, century;
	u16 boot_arch;
	u8 reserved1;
	u32 flags;
	struct address reset;
	u8 reset_value;
	u16 arm_boot_arch;
	u8 minor;
	u64 x_facs, x_dsdt;
	struct address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0,
		x_gpe1, sleep_control, sleep_status;
	u64 hypervisor;
};

#define FADT_BOOT_LEGACY BIT(0) /* LPC or ISA devices */
#define FADT_BOOT_8042   BIT(1)
#define FADT_BOOT_NO_VGA BIT(2)
#define FADT_WBINVD      BIT(0)
#define FADT_PROC_C1     BIT(2)
#define FADT_SLP_BUTTON  BIT(5) /* not a fixed one: there is none */
#define FADT_TMR_32      BIT(8)
#define FADT_RESET       BIT(10)

struct PACKED facs { /* 5.2.10 */
	char signature[4];
	u32 length, hardware_signature, waking_vector, global_lock, flags;
	u64 x_waking_vector;
	u8 version, reserved[31];
};

struct PACKED madt { /* 5.2.12 */
	struct header h;
	u32 lapic_address, flags;
};

struct PACKED madt_lapic {
	u8 type, length, uid, id;
	u32 flags;
};

struct PACKED madt_ioapic {
	u8 type, length, id, reserved;
	u32 address, gsi_base;
};

struct PACKED madt_override {
	u8 type, length, bus, source;
	u32 gsi;
	u16 flags;
};

struct PACKED madt_nmi {
	u8 type, length, uid;
	u16 flags;
	u8 lint;
};

#define MADT_PCAT_COMPAT 1
#define MADT_ENABLED     1
#define MADT_LEVEL_HIGH  0x0d
#define MADT_UID_ALL     0xff

struct PACKED mcfg { /* PCI firmware specification 3.2, section 4.1.2 */
	struct header h;
	u64 reserved0;
	u64 base;
	u16 segment;
	u8 start_bus, end_bus;
	u32 reserved1;
};

struct PACKED hpet { /* IA-PC HPET specification 3.2.4 */
	struct header h;
	u32 block_id;
	struct address base;
	u8 number;
	u16 min_tick;
	u8 page_protection;
};

#define TABLES_MAX 16

struct builder {
	struct vm *vm;
	gpa_t next, end;
	u64 tables[TABLES_MAX]; /* for the XSDT */
	unsigned count;
	bool full;
};

static u8 checksum(const void *data, size_t bytes)
{
	const u8 *p = data;
	u8 sum = 0;

	while (bytes--)
		sum += *p++;
	return -sum;
}

static void init_header(struct header *h, const char *signature, u8 revision, u32 length)
{
	memcpy(h->signature, signature, 4);
	h->length = length;
	h->revision = revision;
	memcpy(h->oem_id, "LODGE ", 6);
	memcpy(h->oem_table_id, "LODGEQ35", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "LODG", 4);
	h->creator_revision = 1;
}

/* Puts bytes into guest RAM on a 64-byte boundary; returns where. */
static gpa_t put(struct builder *b, const void *data, size_t bytes)
{
	gpa_t at = ALIGN_UP(b->next, 64);

	if (b->full || at + bytes > b->end || vm_mem_write(b->vm, at, data, bytes)) {
		b->full = true;
		return 0;
	}
	b->next = at + bytes;
	return at;
}

static gpa_t put_table(struct builder *b, struct header *h)
{
	h->checksum = 0;
	h->checksum = checksum(h, h->length);
	return put(b, h, h->length);
}

static void add_table(struct builder *b, struct header *h)
{
	gpa_t at = put_table(b, h);

	if (b->count < TABLES_MAX)
		b->tables[b->count++] = at;
}

static struct address io_address(u16 port, u8 bytes)
{
	return (struct address){
		.space = 1, .bits = 8 * bytes, .access = bytes == 4 ? 3 : bytes, .address = port
	};
}

static gpa_t build_dsdt(struct builder *b)
{
	u8 aml[sizeof(dsdt_aml)];
	u64 low = pci64_base(&b->vm->memory), high = low + PCI64_BYTES - 1;

	memcpy(aml, dsdt_aml, sizeof(aml));
	memcpy(aml + dsdt_aml_PCI64_MIN, &low, 8);
	memcpy(aml + dsdt_aml_PCI64_MAX, &high, 8);
	return put_table(b, (struct header *)aml);
}

static void build_fadt(struct builder *b)
{
	const struct facs facs = { .signature = "FACS", .length = sizeof(facs), .version = 2 };
	struct fadt f = {
		.pm_profile = 4, /* enterprise server */
		.sci_int = GSI_SCI,
		.pm1a_evt = ACPI_PM1_EVT_PORT,
		.pm1a_cnt = ACPI_PM1_CNT_PORT,
		.pm_tmr = ACPI_PM_TMR_PORT,
		.gpe0 = ACPI_GPE0_PORT,
		.pm1_evt_len = 4,
		.pm1_cnt_len = 2,
		.pm_tmr_len = 4,
		.gpe0_len = 4,
		.c2_latency = 0xfff, /* unsupported */
		.c3_latency = 0xfff,
		.century = 0x32,
		.boot_arch = FADT_BOOT_LEGACY | FADT_BOOT_8042 | FADT_BOOT_NO_VGA,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_TMR_32 | FADT_RESET,
		.reset = io_address(ACPI_RESET_PORT, 1),
		.reset_value = ACPI_RESET_VALUE,
		.minor = 4,
		.x_pm1a_evt = io_address(ACPI_PM1_EVT_PORT, 4),
		.x_pm1a_cnt = io_address(ACPI_PM1_CNT_PORT, 2),
		.x_pm_tmr = io_address(ACPI_PM_TMR_PORT, 4),
		.x_gpe0 = io_address(ACPI_GPE0_PORT, 4),
	};

	init_header(&f.h, "FACP", 6, sizeof(f));
	f.facs = put(b, &facs, sizeof(facs));
	f.dsdt = f.x_dsdt = build_dsdt(b);
	add_table(b, &f.h);
}

static void *append(GByteArray *table, const void *entry, size_t bytes)
{
	g_byte_array_append(table, entry, bytes);
	return table->data;
}

static void build_madt(struct builder *b)
{
	GByteArray *t = g_byte_array_new();
	struct madt madt = { .lapic_address = LAPIC_BASE, .flags = MADT_PCAT_COMPAT };
	const struct madt_ioapic ioapic = { 1, sizeof(ioapic), 0, 0, IOAPIC_BASE, 0 };
	/* ISA interrupt 0 arrives at pin 2; the SCI is level-triggered, active high. */
	const struct madt_override pit = { 2, sizeof(pit), 0, 0, GSI_PIT, 0 };
	const struct madt_override sci = { 2, sizeof(sci), 0, GSI_SCI, GSI_SCI, MADT_LEVEL_HIGH };
	const struct madt_nmi nmi = { 4, sizeof(nmi), MADT_UID_ALL, 0, 1 };
	struct header *h;

	append(t, &madt, sizeof(madt));
	for (unsigned i = 0; i < b->vm->vcpu_count; i++) {
		const struct madt_lapic lapic = { 0, sizeof(lapic), i, i, MADT_ENABLED };

		append(t, &lapic, sizeof(lapic));
	}
	append(t, &ioapic, sizeof(ioapic));
	append(t, &pit, sizeof(pit));
	append(t, &sci, sizeof(sci));
	h = append(t, &nmi, sizeof(nmi));
	init_header(h, "APIC", 5, t->len);
	add_table(b, h);
	g_byte_array_free(t, TRUE);
}

static void build_mcfg(struct builder *b)
{
	struct mcfg m = { .base = ECAM_BASE, .end_bus = 255 };

	init_header(&m.h, "MCFG", 1, sizeof(m));
	add_table(b, &m.h);
}

static void build_hpet(struct builder *b)
{
	struct hpet t = {
		.block_id = 0x8086a201, /* as its capability register: three 64-bit comparators */
		.base = { .space = 0, .bits = 64, .address = HPET_BASE },
		.min_tick = 100,
	};

	init_header(&t.h, "HPET", 1, sizeof(t));
	add_table(b, &t.h);
}

/* The body of the compiled template for each processor, under one header. */
static void build_processors(struct builder *b)
{
	static const char digits[] = "0123456789ABCDEF";
	GByteArray *t = g_byte_array_new();
	struct header *h;

	g_byte_array_append(t, ssdt_cpu_aml, sizeof(struct header));
	for (u32 i = 0; i < b->vm->vcpu_count; i++) {
		guint at = t->len - sizeof(struct header);

		g_byte_array_append(t, ssdt_cpu_aml + sizeof(struct header),
				    sizeof(ssdt_cpu_aml) - sizeof(struct header));
		t->data[at + ssdt_cpu_aml_NAME + 2] = digits[i >> 4 & 15];
		t->data[at + ssdt_cpu_aml_NAME + 3] = digits[i & 15];
		memcpy(t->data + at + ssdt_cpu_aml_UID, &i, 4);
	}
	h = (struct header *)t->data;
	h->length = t->len;
	add_table(b, h);
	g_byte_array_free(t, TRUE);
}

static gpa_t build_xsdt(struct builder *b)
{
	struct PACKED {
		struct header h;
		u64 tables[TABLES_MAX];
	} x = { 0 };

	memcpy(x.tables, b->tables, sizeof(x.tables));
	init_header(&x.h, "XSDT", 1, sizeof(x.h) + 8 * b->count);
	return put_table(b, &x.h);
}

int acpi_build(struct vm *vm, gpa_t base, u64 bytes, gpa_t rsdp_at, GError **error)
{
	struct builder b = { .vm = vm, .next = base, .end = base + bytes };
	struct rsdp rsdp = { .revision = 2, .length = sizeof(rsdp) };

	build_fadt(&b);
	build_madt(&b);
	build_mcfg(&b);
	build_hpet(&b);
	build_processors(&b);
	rsdp.xsdt = build_xsdt(&b);
	memcpy(rsdp.signature, "RSD PTR ", 8);
	memcpy(rsdp.oem_id, "LODGE ", 6);
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	if (b.full || vm_mem_write(vm, rsdp_at, &rsdp, sizeof(rsdp))) {
		g_set_error(error, VM_ERROR, ENOSPC, "the ACPI tables do not fit at 0x%llx",
			    (unsigned long long)base);
		return -ENOSPC;
	}
	return 0;
}
