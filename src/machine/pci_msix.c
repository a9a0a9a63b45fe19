/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI 3.0 section 6.8.2): table and pending bits are regions of their own above the BAR
 * that contains them, so the device behind the BAR does not see accesses to them.
 */
#include "machine/pci.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define CONTROL_MASKED BIT(0) /* of an entry */
#define MESSAGE_ENABLE BIT(15)
#define MESSAGE_MASK   BIT(14)

static u16 message_control(const struct pci_device *pci)
{
	const u8 *c = pci->config + pci->msix.cap + 2;

	return c[0] | c[1] << 8;
}

static bool masked_locked(struct pci_device *pci, unsigned vector)
{
	return (message_control(pci) & MESSAGE_MASK) ||
	       (pci->msix.entries[vector].control & CONTROL_MASKED);
}

static void send_pending_locked(struct pci_device *pci)
{
	struct pci_msix *m = &pci->msix;

	if (!(message_control(pci) & MESSAGE_ENABLE))
		return;
	for (unsigned i = 0; m->pending && i < m->vectors; i++) {
		if ((m->pending & BIT(i)) && !masked_locked(pci, i)) {
			m->pending &= ~BIT(i);
			vm_msi(pci->dev.vm, m->entries[i].address, m->entries[i].data);
		}
	}
}

bool pci_msix_enabled(struct pci_device *pci)
{
	return pci->msix.vectors && (message_control(pci) & MESSAGE_ENABLE);
}

void pci_msix_notify(struct pci_device *pci, unsigned vector)
{
	struct pci_msix *m = &pci->msix;

	if (vector >= m->vectors)
		return;
	pthread_mutex_lock(&m->lock);
	if (masked_locked(pci, vector))
		m->pending |= BIT(vector);
	else
		vm_msi(pci->dev.vm, m->entries[vector].address, m->entries[vector].data);
	pthread_mutex_unlock(&m->lock);
}

static void table_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pci_device *pci = container_of(dev, struct pci_device, dev);
	struct msix_entry *e = &pci->msix.entries[offset / 16];
	u8 *p = (u8 *)e + offset % 16;

	if (size < 4 || offset % size)
		return; /* accesses are of 4 or 8 bytes */
	pthread_mutex_lock(&pci->msix.lock);
	if (write) {
		memcpy(p, value, size);
		e->control &= CONTROL_MASKED;
		send_pending_locked(pci);
	} else {
		*value = 0;
		memcpy(value, p, size);
	}
	pthread_mutex_unlock(&pci->msix.lock);
}

static void pba_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pci_device *pci = container_of(dev, struct pci_device, dev);

	if (!write)
		*value = __atomic_load_n(&pci->msix.pending, __ATOMIC_RELAXED) >> (8 * offset);
}

void pci_msix_config_written(struct pci_device *pci)
{
	pthread_mutex_lock(&pci->msix.lock);
	send_pending_locked(pci);
	pthread_mutex_unlock(&pci->msix.lock);
}

void pci_msix_move(struct pci_device *pci, u64 bar_base, bool enabled)
{
	struct region_map *map = &pci->dev.vm->mmio;

	region_map_move(map, &pci->msix.table_region, bar_base + pci->msix.table_offset, enabled);
	region_map_move(map, &pci->msix.pba_region, bar_base + pci->msix.pba_offset, enabled);
}

void pci_msix_reset(struct pci_device *pci)
{
	struct pci_msix *m = &pci->msix;

	pthread_mutex_lock(&m->lock);
	m->pending = 0;
	for (unsigned i = 0; i < m->vectors; i++)
		m->entries[i] = (struct msix_entry){ .control = CONTROL_MASKED };
	pthread_mutex_unlock(&m->lock);
}

int pci_add_msix(struct pci_device *pci, unsigned vectors, unsigned bar, u32 table_offset,
		 u32 pba_offset, GError **error)
{
	static const u8 writable[10] = { 0x00, 0xc0 };
	struct pci_msix *m = &pci->msix;
	struct region_map *map = &pci->dev.vm->mmio;
	u8 content[10];
	u32 table = table_offset | bar, pba = pba_offset | bar;
	int cap, err;

	g_assert(vectors && vectors <= PCI_MSIX_MAX);
	content[0] = vectors - 1;
	content[1] = (vectors - 1) >> 8;
	memcpy(content + 2, &table, 4);
	memcpy(content + 6, &pba, 4);
	cap = pci_add_capability(pci, PCI_CAP_ID_MSIX, 12, content, writable);
	m->table_region = (struct region){ .dev = &pci->dev,
					   .access = table_access,
					   .bytes = 16 * vectors,
					   .priority = REGION_PRIORITY_BAR_PART };
	m->pba_region = (struct region){ .dev = &pci->dev,
					 .access = pba_access,
					 .bytes = 8,
					 .priority = REGION_PRIORITY_BAR_PART };
	err = cap < 0 ? cap : region_map_add(map, &m->table_region);
	if (!err)
		err = region_map_add(map, &m->pba_region);
	if (err) {
		g_set_error(error, VM_ERROR, -err, "no room for MSI-X: %s", g_strerror(-err));
		return err;
	}
	m->cap = cap;
	m->bar = bar;
	m->table_offset = table_offset;
	m->pba_offset = pba_offset;
	m->vectors = vectors;
	return 0;
}
