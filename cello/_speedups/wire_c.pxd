cpdef bytes render(status, fields, common, length, body)
cpdef bytes chunk(data)
