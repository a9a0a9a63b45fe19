/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware (ACPI 6.4 section 4.8): PM1a event and control blocks, the 24-bit PM timer
 * (here 32 bits, as the FADT says) and general-purpose events.
 *
 * The machine is always in ACPI mode: SCI_EN reads 1 and there is no SMI command port.
 */
#include "machine/acpi/acpi.h"
#include "machine/vm.h"
#include "state/state.h"

#define PM_TIMER_HZ 3579545ull

#define STS_TMR        BIT(0)
#define STS_GBL        BIT(5)
#define STS_PWRBTN     BIT(8)
#define STS_RTC        BIT(10)
#define STS_WAK        BIT(15)
#define CNT_SCI_EN     BIT(0)
#define CNT_SLP_EN     BIT(13)
#define CNT_SLP_TYP(v) (((v) >> 10) & 7)

struct pm {
	struct device dev;
	struct region event, control, timer, gpe;
	struct irq_line sci;
	pthread_mutex_t lock;
	struct vm_timer overflow;
	u16 status, enable, control_value;
	u16 gpe_status, gpe_enable;
};

static u64 timer_ticks(struct pm *pm)
{
	return mul_div_u64(vm_clock_now(&pm->dev.vm->clock), PM_TIMER_HZ, 1000000000);
}

static bool sci_level(const struct pm *pm)
{
	return (pm->status & pm->enable & (STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC)) ||
	       (pm->gpe_status & pm->gpe_enable);
}

/* The timer's status bit sets whenever the top bit of the 32 changes; only a guest that asked for
 * it costs a timer. */
static void update_locked(struct pm *pm)
{
	struct vm_clock *clock = &pm->dev.vm->clock;
	u64 next;

	irq_line_set(&pm->sci, sci_level(pm));
	if ((pm->enable & STS_TMR) && !(pm->status & STS_TMR)) {
		next = (timer_ticks(pm) | 0x7fffffff) + 1;
		vm_timer_arm(clock, &pm->overflow, mul_div_u64(next, 1000000000, PM_TIMER_HZ) + 1);
	} else {
		vm_timer_disarm(clock, &pm->overflow);
	}
}

static void overflow_fire(void *opaque)
{
	struct pm *pm = opaque;

	pthread_mutex_lock(&pm->lock);
	pm->status |= STS_TMR;
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* The event block is four byte registers: status 0-1 (write 1 to clear), enable 2-3. */
static void event_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pm *pm = container_of(dev, struct pm, dev);
	unsigned shift = 8 * (offset & 1);

	pthread_mutex_lock(&pm->lock);
	if (!write)
		*value = (offset < 2 ? pm->status : pm->enable) >> shift & 0xff;
	else if (offset < 2)
		pm->status &= ~(*value << shift);
	else
		pm->enable = (pm->enable & ~(0xff << shift)) | *value << shift;
	if (write)
		update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* Sleep starts with the byte that holds SLP_EN; the sleep type is in the same byte. */
static void control_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pm *pm = container_of(dev, struct pm, dev);
	unsigned shift = 8 * offset;
	bool sleep = false;

	pthread_mutex_lock(&pm->lock);
	if (write) {
		u16 v = (pm->control_value & ~(0xff << shift)) | *value << shift;

		sleep = (v & CNT_SLP_EN) && CNT_SLP_TYP(v) == ACPI_S5_SLP_TYP;
		pm->control_value = (v & ~CNT_SLP_EN) | CNT_SCI_EN;
	} else {
		*value = pm->control_value >> shift & 0xff;
	}
	pthread_mutex_unlock(&pm->lock);
	if (sleep)
		vm_request(dev->vm, VM_REQUEST_POWEROFF, 0);
}

static void timer_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pm *pm = container_of(dev, struct pm, dev);

	if (!write)
		*value = (u32)timer_ticks(pm) >> (8 * offset);
}

static void gpe_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pm *pm = container_of(dev, struct pm, dev);
	unsigned shift = 8 * (offset & 1);

	pthread_mutex_lock(&pm->lock);
	if (!write)
		*value = (offset < 2 ? pm->gpe_status : pm->gpe_enable) >> shift & 0xff;
	else if (offset < 2)
		pm->gpe_status &= ~(*value << shift);
	else
		pm->gpe_enable = (pm->gpe_enable & ~(0xff << shift)) | *value << shift;
	if (write)
		update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

static void power_button(struct vm *vm)
{
	struct pm *pm = container_of(vm->power_device, struct pm, dev);

	pthread_mutex_lock(&pm->lock);
	pm->status |= STS_PWRBTN;
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

static void pm_reset(struct device *dev)
{
	struct pm *pm = container_of(dev, struct pm, dev);

	pthread_mutex_lock(&pm->lock);
	pm->status = pm->enable = pm->gpe_status = pm->gpe_enable = 0;
	pm->control_value = CNT_SCI_EN;
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

static int pm_realize(struct device *dev, GError **error)
{
	struct pm *pm = container_of(dev, struct pm, dev);
	int err;

	pthread_mutex_init(&pm->lock, NULL);
	irq_line_init(&pm->sci, dev->vm, GSI_SCI);
	vm_timer_init(&pm->overflow, overflow_fire, pm);
	dev->vm->power_button = power_button;
	dev->vm->power_device = dev;
	err = device_add_ports(dev, &pm->event, ACPI_PM1_EVT_PORT, 4, event_access, error);
	if (!err)
		err = device_add_ports(dev, &pm->control, ACPI_PM1_CNT_PORT, 2, control_access,
				       error);
	if (!err)
		err = device_add_ports(dev, &pm->timer, ACPI_PM_TMR_PORT, 4, timer_access, error);
	pm->timer.width_max = 4;
	if (!err)
		err = device_add_ports(dev, &pm->gpe, ACPI_GPE0_PORT, 4, gpe_access, error);
	return err;
}

static int pm_post_load(struct device *dev)
{
	struct pm *pm = container_of(dev, struct pm, dev);

	irq_line_restore(&pm->sci);
	update_locked(pm);
	return 0;
}

static void pm_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct pm, dev)->lock);
}

static const struct state_field pm_state[] = {
	STATE(struct pm, status),     STATE(struct pm, enable),     STATE(struct pm, control_value),
	STATE(struct pm, gpe_status), STATE(struct pm, gpe_enable), STATE_END,
};

const struct device_type device_acpi_pm = {
	.name = "acpi-pm",
	.help = "ACPI power management and power button",
	.bytes = sizeof(struct pm),
	.flags = DEVICE_BOARD,
	.state = pm_state,
	.realize = pm_realize,
	.reset = pm_reset,
	.post_load = pm_post_load,
	.destroy = pm_destroy,
};
