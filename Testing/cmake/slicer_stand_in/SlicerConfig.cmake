# A stand-in for `find_package(Slicer)`: the variables and macros that this extension uses, doing what Slicer's own do
# with files (copy to the build tree at build time, install that tree), and recording what they were given.
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionMetadata.cmake")
