/* The device: requests in, replies out, and a run that goes on in between. */
#ifndef HWL_DEVICE_H
#define HWL_DEVICE_H

#include "frame.h"
#include "info.h"
#include "regions.h"
#include "run.h"
#include "session.h"

typedef struct {
    hwl_receiver receiver;
    hwl_frame reply;
    hwl_session session;
    hwl_region program;
    hwl_region input;
    hwl_image image;
    hwl_core core;
    hwl_run run;
    uint32_t boot;       /* 0 until the first frame comes */
    uint32_t transfers;  /* numbers given so far */
    uint32_t heard_ms;   /* when the host was heard last */
    uint32_t silence_ms; /* after which a run ends by itself; 0: never */
    uint32_t info_bytes;
    uint32_t info_crc;
    char info[HWL_INFO_ROOM];
} hwl_device;

/* As after a restart. There is memory for one device. */
void hwl_device_begin(hwl_device *device);

/* Takes bytes of the line and answers what they ask. */
void hwl_device_take(hwl_device *device, const uint8_t *bytes, size_t count);

/* Answers the good request in device->receiver.frame. */
void hwl_device_answer(hwl_device *device);

/* Goes on with the run for HWL_SLICE_MS, or a tick if that takes longer; returns whether one is in progress. */
int hwl_device_go_on(hwl_device *device);

#endif
