# Slicer packages the extension here, and stops without these.
foreach(variable HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if("${EXTENSION_${variable}}" STREQUAL "")
    message(FATAL_ERROR "EXTENSION_${variable} is not set")
  endif()
  file(APPEND "${CMAKE_BINARY_DIR}/metadata.txt" "${variable}=${EXTENSION_${variable}}\n")
endforeach()
file(APPEND "${CMAKE_BINARY_DIR}/metadata.txt" "PROJECT=${PROJECT_NAME}\n")
