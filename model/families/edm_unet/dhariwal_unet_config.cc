#include "model/families/edm_unet/dhariwal_unet_config.h"

namespace skipstream {

DhariwalUNetConfig ReadDhariwalUNetConfig(FieldReader& fields) {
  DhariwalUNetConfig config;
  ReadUNetConfig(fields, config);
  return config;
}

}  // namespace skipstream
