// expect: template constraint failure
#include <exo/disk.hpp>

template <exo::block_device Device>
class file_system {};

#ifndef EXO_WRONG
template class file_system<exo::disk_blocks>;
#else
template class file_system<exo::disk_queue>;
#endif
