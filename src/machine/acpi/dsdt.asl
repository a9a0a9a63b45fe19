/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices of the board that cannot be found by looking: PCI root, legacy devices, power.
 * Numbers repeat machine/layout.h and acpi/acpi.h. The 64-bit PCI window
 * (0xA5A5A5...) is patched at boot: aml.py finds where it stands in the compiled table.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "LODGE ", "LODGEQ35", 1)
{
	/* S5 only. The value is ACPI_S5_SLP_TYP. */
	Name (\_S5, Package () { 5, 5, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)
			Name (_CCA, 1)

			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 255, 0, 256)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0D00, 0xFFFF, 0, 0xF300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable,
					ReadWrite, 0, 0xA5A5A50000000000, 0xA5A5A507FFFFFFFF, 0, 0x800000000)
			})

			/* Native control of everything but what firmware would have to provide. */
			Method (_OSC, 4, Serialized)
			{
				CreateDWordField (Arg3, 0, CDW1)
				If (Arg0 == ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
				{
					CreateDWordField (Arg3, 8, CDW3)
					/* PCIe hot-plug, PME, AER, capability structure */
					Local0 = CDW3 & 0x1D
					If (Arg1 != 1) { CDW1 |= 0x08 }
					If (Local0 != CDW3) { CDW1 |= 0x10 }
					CDW3 = Local0
				}
				Else { CDW1 |= 0x04 }
				Return (Arg3)
			}

			/* Slot s, pin p: global interrupt 16 + (s + p) mod 8. */
#define SLOT(address, a, b, c, d) \
	Package () { address, 0, 0, a }, Package () { address, 1, 0, b }, \
	Package () { address, 2, 0, c }, Package () { address, 3, 0, d }
#define EIGHT(s0, s1, s2, s3, s4, s5, s6, s7) \
	SLOT (s0, 16, 17, 18, 19), SLOT (s1, 17, 18, 19, 20), \
	SLOT (s2, 18, 19, 20, 21), SLOT (s3, 19, 20, 21, 22), \
	SLOT (s4, 20, 21, 22, 23), SLOT (s5, 21, 22, 23, 16), \
	SLOT (s6, 22, 23, 16, 17), SLOT (s7, 23, 16, 17, 18)
			Name (_PRT, Package ()
			{
				EIGHT (0x0000FFFF, 0x0001FFFF, 0x0002FFFF, 0x0003FFFF,
					0x0004FFFF, 0x0005FFFF, 0x0006FFFF, 0x0007FFFF),
				EIGHT (0x0008FFFF, 0x0009FFFF, 0x000AFFFF, 0x000BFFFF,
					0x000CFFFF, 0x000DFFFF, 0x000EFFFF, 0x000FFFFF),
				EIGHT (0x0010FFFF, 0x0011FFFF, 0x0012FFFF, 0x0013FFFF,
					0x0014FFFF, 0x0015FFFF, 0x0016FFFF, 0x0017FFFF),
				EIGHT (0x0018FFFF, 0x0019FFFF, 0x001AFFFF, 0x001BFFFF,
					0x001CFFFF, 0x001DFFFF, 0x001EFFFF, 0x001FFFFF)
			})

			Device (ISA)
			{
				Name (_ADR, 0x001F0000)

				Device (RTC)
				{
					Name (_HID, EisaId ("PNP0B00"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x70, 0x70, 1, 2)
						IRQNoFlags () { 8 }
					})
				}

				Device (KBD)
				{
					Name (_HID, EisaId ("PNP0303"))
					Name (_STA, 0x0F)
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x60, 0x60, 1, 1)
						IO (Decode16, 0x64, 0x64, 1, 1)
						IRQNoFlags () { 1 }
					})
				}

				Device (PIT)
				{
					Name (_HID, EisaId ("PNP0100"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x40, 0x40, 1, 4)
					})
				}

				Device (PICD)
				{
					Name (_HID, EisaId ("PNP0000"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x20, 0x20, 1, 2)
						IO (Decode16, 0xA0, 0xA0, 1, 2)
						IO (Decode16, 0x4D0, 0x4D0, 1, 2)
						IRQNoFlags () { 2 }
					})
				}

				/* A serial port is there if something answers: its scratch register holds. */
				OperationRegion (CO1R, SystemIO, 0x3F8, 8)
				OperationRegion (CO2R, SystemIO, 0x2F8, 8)
				Field (CO1R, ByteAcc, NoLock, Preserve) { Offset (7), SCR1, 8 }
				Field (CO2R, ByteAcc, NoLock, Preserve) { Offset (7), SCR2, 8 }

				/* So is the panic notifier: it says which events it takes. */
				OperationRegion (PVPR, SystemIO, 0x505, 1)
				Field (PVPR, ByteAcc, NoLock, Preserve) { PEVR, 8 }

				Device (PEVT)
				{
					Name (_HID, "QEMU0001")
					Method (_STA, 0, NotSerialized)
					{
						If (PEVR == 0xFF) { Return (0) }
						Return (0x0F)
					}
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x505, 0x505, 1, 1)
					})
				}

				Device (FWCF)
				{
					Name (_HID, "QEMU0002")
					Name (_STA, 0x0B)
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x510, 0x510, 1, 0x0C)
					})
				}

				Device (COM1)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 1)
					Method (_STA, 0, NotSerialized)
					{
						If (SCR1 == 0xFF) { Return (0) }
						Return (0x0F)
					}
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x3F8, 0x3F8, 8, 8)
						IRQNoFlags () { 4 }
					})
				}

				Device (COM2)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 2)
					Method (_STA, 0, NotSerialized)
					{
						If (SCR2 == 0xFF) { Return (0) }
						Return (0x0F)
					}
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x2F8, 0x2F8, 8, 8)
						IRQNoFlags () { 3 }
					})
				}
			}
		}

		/* Addresses that nothing else may be given. */
		Device (MBRD)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0xB0000000, 0x10000000)
				Memory32Fixed (ReadWrite, 0xFED1C000, 0x00004000)
				Memory32Fixed (ReadWrite, 0xFEE00000, 0x00100000)
				IO (Decode16, 0x600, 0x600, 1, 0x80)
				IO (Decode16, 0x92, 0x92, 1, 1)
			})
		}

		Device (HPET)
		{
			Name (_HID, EisaId ("PNP0103"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0xFED00000, 0x00000400)
			})
		}
	}
}
