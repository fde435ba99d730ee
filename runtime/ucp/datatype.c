// Datatypes: payload out of and into the user's memory, contiguous, in pieces, or by the user's own pack and unpack.
#include <string.h>
#include "runtime/ucp/adapter.h"

#define FIRST_DATATYPES 64u
#define NO_DATATYPE UINT32_MAX

static struct egd_generic_datatype *generic(ucp_datatype_t datatype) {
  uint64_t index = datatype >> UCP_DATATYPE_SHIFT;
  if (index >= egd_ucp.ndatatypes || !egd_ucp.datatypes[index].used)
    egd_die("the MPI library used datatype handle 0x%lx, which does not exist; was the datatype freed too early?",
            (unsigned long)datatype);
  return &egd_ucp.datatypes[index];
}

_Noreturn static void unknown_class(ucp_datatype_t datatype) {
  egd_die("the MPI library uses UCP datatype class %u, which egida does not support (contiguous, IOV and generic are); "
          "run the program without egida",
          (unsigned)(datatype & UCP_DATATYPE_CLASS_MASK));
}

EGD_EXPORT ucs_status_t ucp_dt_create_generic(const ucp_generic_dt_ops_t *ops, void *context,
                                              ucp_datatype_t *ret_datatype) {
  egd_enter();
  if (!egd_ucp.datatypes || egd_ucp.free_datatype == NO_DATATYPE) {
    uint32_t old = egd_ucp.ndatatypes, new = old ? old * 2 : FIRST_DATATYPES;
    struct egd_generic_datatype *datatypes = egd_calloc(new * sizeof(*datatypes));
    if (old) memcpy(datatypes, egd_ucp.datatypes, old * sizeof(*datatypes));
    for (uint32_t i = old; i < new; i++) datatypes[i].next_free = i + 1 < new ? i + 1 : NO_DATATYPE;
    egd_free(egd_ucp.datatypes, old * sizeof(*datatypes));
    egd_ucp.datatypes = datatypes;
    egd_ucp.ndatatypes = new;
    egd_ucp.free_datatype = old;
  }
  uint32_t index = egd_ucp.free_datatype;
  struct egd_generic_datatype *entry = &egd_ucp.datatypes[index];
  egd_ucp.free_datatype = entry->next_free;
  entry->ops = *ops;
  entry->context = context;
  entry->used = true;
  *ret_datatype = (uint64_t)index << UCP_DATATYPE_SHIFT | UCP_DATATYPE_GENERIC;
  egd_leave();
  return UCS_OK;
}

// MPICH counts its references: this comes after the last operation, often inside that one's finish().
EGD_EXPORT void ucp_dt_destroy(ucp_datatype_t datatype) {
  if ((datatype & UCP_DATATYPE_CLASS_MASK) != UCP_DATATYPE_GENERIC) return;
  struct egd_generic_datatype *entry = generic(datatype);
  entry->used = false;
  entry->next_free = egd_ucp.free_datatype;
  egd_ucp.free_datatype = (uint32_t)(entry - egd_ucp.datatypes);
}

static inline uint64_t contiguous_length(ucp_datatype_t datatype, size_t count) {
  return count * (datatype >> UCP_DATATYPE_SHIFT);
}

static uint64_t iov_length(const ucp_dt_iov_t *iov, size_t count) {
  uint64_t length = 0;
  for (size_t i = 0; i < count; i++) length += iov[i].length;
  return length;
}

// ---- out ----------------------------------------------------------------------------------------

void egd_source_start(struct egd_source *source, const void *buffer, size_t count, ucp_datatype_t datatype) {
  *source = (struct egd_source){.buffer = buffer, .count = count, .datatype = datatype};
  switch (datatype & UCP_DATATYPE_CLASS_MASK) {
  case UCP_DATATYPE_CONTIG:
    source->length = contiguous_length(datatype, count);
    break;
  case UCP_DATATYPE_IOV:
    source->length = iov_length(buffer, count);
    break;
  case UCP_DATATYPE_GENERIC: {
    struct egd_generic_datatype type = *generic(datatype);
    source->pack = type.ops.start_pack(type.context, buffer, count);
    source->length = type.ops.packed_size(source->pack);
    break;
  }
  default:
    unknown_class(datatype);
  }
}

// A packer may stop before a piece is full (it never splits a basic element), but has to get on.
static size_t pack(const ucp_generic_dt_ops_t *ops, struct egd_source *source, uint64_t offset, void *to, size_t room) {
  size_t length = ops->pack(source->pack, offset, to, room);
  if (length == 0 || length > room)
    egd_die("the MPI library packed %lu bytes at offset %lu of a message of %lu bytes; its datatype is inconsistent",
            (unsigned long)length, (unsigned long)offset, (unsigned long)source->length);
  return length;
}

// The user's packer may call anything, even functions of the runtime, so it does not run while a message is open.
static void send_generic(struct egd_source *source, uint32_t dest, enum egd_record_kind kind, uint64_t imm,
                         uint32_t cookie) {
  size_t size = source->length;
  unsigned char *packed = size ? egd_alloc(size) : NULL;
  egd_source_copy(source, packed);
  struct egd_send out;
  egd_send_open(&out, dest, kind, imm, cookie, 0, size);
  if (size) egd_send_put(&out, packed, size);
  egd_send_close(&out);
  egd_free(packed, size);
}

void egd_source_send(struct egd_source *source, uint32_t dest, enum egd_record_kind kind, uint64_t imm,
                     uint32_t cookie) {
  unsigned shape = source->datatype & UCP_DATATYPE_CLASS_MASK;
  if (shape == UCP_DATATYPE_GENERIC) {
    send_generic(source, dest, kind, imm, cookie);
    return;
  }
  struct egd_send out;
  egd_send_open(&out, dest, kind, imm, cookie, 0, source->length);
  if (EGD_LIKELY(shape == UCP_DATATYPE_CONTIG)) {
    if (source->length) egd_send_put(&out, source->buffer, source->length);
  } else {
    const ucp_dt_iov_t *iov = source->buffer;
    for (size_t i = 0; i < source->count; i++)
      if (iov[i].length) egd_send_put(&out, iov[i].buffer, iov[i].length);
  }
  egd_send_close(&out);
}

void egd_source_copy(struct egd_source *source, void *to) {
  switch (source->datatype & UCP_DATATYPE_CLASS_MASK) {
  case UCP_DATATYPE_CONTIG:
    if (source->length) memcpy(to, source->buffer, source->length);
    break;
  case UCP_DATATYPE_IOV: {
    const ucp_dt_iov_t *iov = source->buffer;
    for (size_t i = 0; i < source->count; i++) {
      if (iov[i].length) memcpy(to, iov[i].buffer, iov[i].length);
      to = (unsigned char *)to + iov[i].length;
    }
    break;
  }
  case UCP_DATATYPE_GENERIC: {
    // A copy: the table may move if the packer creates datatypes.
    ucp_generic_dt_ops_t ops = generic(source->datatype)->ops;
    for (uint64_t done = 0; done < source->length;)
      done += pack(&ops, source, done, (unsigned char *)to + done, source->length - done);
    ops.finish(source->pack);
    break;
  }
  }
}

// ---- in -----------------------------------------------------------------------------------------

void egd_sink_start(struct egd_request *request, void *buffer, size_t count, ucp_datatype_t datatype) {
  request->buffer = buffer;
  request->count = count;
  request->datatype = datatype;
  switch (datatype & UCP_DATATYPE_CLASS_MASK) {
  case UCP_DATATYPE_CONTIG:
    request->capacity = contiguous_length(datatype, count);
    break;
  case UCP_DATATYPE_IOV:
    request->capacity = iov_length(buffer, count);
    break;
  case UCP_DATATYPE_GENERIC: {
    struct egd_generic_datatype type = *generic(datatype);
    request->unpack = type.ops.start_unpack(type.context, buffer, count);
    request->capacity = type.ops.packed_size(request->unpack);
    break;
  }
  default:
    unknown_class(datatype);
  }
}

static void read_payload(const void *data, const struct egd_message *message, uint64_t offset, void *to,
                         size_t length) {
  if (!length) return;
  if (data)
    memcpy(to, (const unsigned char *)data + offset, length);
  else
    egd_message_read(message, offset, to, length);
}

// The payload is handed over in one piece: an unpacker cannot take a piece that ends within a basic element, and only
// it knows where those lie.
static ucs_status_t fill_generic(struct egd_request *request, const void *data, const struct egd_message *message,
                                 size_t length) {
  ucp_generic_dt_ops_t ops = generic(request->datatype)->ops;
  ucs_status_t status = UCS_OK;
  if (length) {
    if (!data) data = egd_message_contiguous(message);
    if (data) {
      status = ops.unpack(request->unpack, 0, data, length);
    } else {
      void *whole = egd_alloc(length);
      egd_message_read(message, 0, whole, length);
      status = ops.unpack(request->unpack, 0, whole, length);
      egd_free(whole, length);
    }
  }
  ops.finish(request->unpack);
  return status;
}

ucs_status_t egd_sink_fill(struct egd_request *request, const void *data, const struct egd_message *message) {
  size_t length = message->length < request->capacity ? message->length : request->capacity;
  ucs_status_t status = UCS_OK;
  unsigned shape = request->datatype & UCP_DATATYPE_CLASS_MASK;
  if (EGD_LIKELY(shape == UCP_DATATYPE_CONTIG)) {
    read_payload(data, message, 0, request->buffer, length);
  } else if (shape == UCP_DATATYPE_IOV) {
    const ucp_dt_iov_t *iov = request->buffer;
    size_t done = 0;
    for (size_t i = 0; i < request->count && done < length; i++) {
      size_t piece = iov[i].length < length - done ? iov[i].length : length - done;
      read_payload(data, message, done, iov[i].buffer, piece);
      done += piece;
    }
  } else {
    status = fill_generic(request, data, message, length);
  }
  return message->length > request->capacity ? UCS_ERR_MESSAGE_TRUNCATED : status;
}

void egd_sink_cancel(struct egd_request *request) {
  if ((request->datatype & UCP_DATATYPE_CLASS_MASK) == UCP_DATATYPE_GENERIC)
    generic(request->datatype)->ops.finish(request->unpack);
}
