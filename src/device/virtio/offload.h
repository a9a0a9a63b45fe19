/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network card does for its driver: fill in checksums, cut large TCP packets into frames.
 * Pure functions over one frame, whose every byte comes from the guest.
 */
#ifndef LODGE_DEVICE_VIRTIO_OFFLOAD_H
#define LODGE_DEVICE_VIRTIO_OFFLOAD_H

#include "base/types.h"

#define SEGMENT_MIN 256 /* payload bytes; smaller requests are refused */

/* Completes the Internet checksum over @frame from @start on, at @start + @offset, where the sum of
 * the pseudo header stands. False: the places are outside the frame. */
bool offload_checksum(u8 *frame, size_t bytes, unsigned start, unsigned offset);

/* Cuts a TCP packet (IPv4 or IPv6, @tcp is where its header begins) into frames of at most
 * @segment payload bytes and gives each, complete with lengths and checksums, to @emit, which
 * returns false to stop. False: the frame is not such a packet, or emit stopped. */
bool offload_segment(const u8 *frame, size_t bytes, unsigned tcp, unsigned segment,
		     bool (*emit)(void *opaque, const u8 *frame, size_t bytes), void *opaque);

#endif
